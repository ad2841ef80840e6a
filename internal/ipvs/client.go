package ipvs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"sync"
	"time"
)

// A Client is the running kernel's table. [Open] makes one.
//
// All calls go through one goroutine, one at a time. A call that the kernel does
// not answer within 5 seconds returns [ErrTimeout] and is left to itself, with its
// sockets; the next one gets new ones. If the module is unloaded calls return
// [ErrNoKernel] until it is loaded again.
type Client struct {
	jobs    chan job
	closing chan struct{}
	gone    chan struct{} // the owner has ended
	stuck   int           // calls that hang after it ended; read when gone is closed

	once sync.Once // of Close
	open opener
}

var _ Access = (*Client)(nil)

// newClient starts the owner and sees whether the kernel has IPVS and lets us
// use it.
func newClient(ctx context.Context, open opener, patience time.Duration) (*Client, error) {
	c := &Client{jobs: make(chan job), closing: make(chan struct{}), gone: make(chan struct{}), open: open}
	o := &owner{open: open, patience: patience, jobs: c.jobs, closing: c.closing, returned: make(chan struct{}, maxStuck+1)}
	go func() {
		defer close(c.gone)
		c.stuck = o.own()
		_ = open.Close() // a namespace that was only looked at
	}()
	_, err := call(ctx, c, Subject{Op: OpOpen}, func(l *link) (Info, error) {
		return single(l, cmdGetInfo, nil, decodeInfo)
	})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close ends the access and waits for what is under way. An error means that
// calls hang in the kernel; they end with it.
func (c *Client) Close() error {
	c.once.Do(func() { close(c.closing) })
	<-c.gone
	if c.stuck > 0 {
		return Explain(Subject{Op: OpClose}, fmt.Errorf("%w: %d calls have not come back", ErrTimeout, c.stuck))
	}
	return nil
}

// change is a call without a value.
func (c *Client) change(ctx context.Context, s Subject, check error, f func(*link) error) error {
	if check != nil {
		return Explain(s, check)
	}
	_, err := call(ctx, c, s, func(l *link) (struct{}, error) { return struct{}{}, f(l) })
	return err
}

// Info reads the version of IPVS.
func (c *Client) Info(ctx context.Context) (Info, error) {
	return call(ctx, c, Subject{Op: OpInfo}, func(l *link) (Info, error) {
		return single(l, cmdGetInfo, nil, decodeInfo)
	})
}

// Services lists all services, in no order.
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	return call(ctx, c, Subject{Op: OpServices}, (*link).services)
}

// Destinations lists the real servers of a service, the newest first.
func (c *Client) Destinations(ctx context.Context, key Key) ([]Destination, error) {
	s := Subject{Op: OpDestinations, Key: key}
	if err := key.Check(); err != nil {
		return nil, Explain(s, err)
	}
	return call(ctx, c, s, func(l *link) ([]Destination, error) { return l.destinations(key) })
}

// AddService adds a service without destinations.
func (c *Client) AddService(ctx context.Context, s Service) error {
	subject := Subject{Op: OpAddService, Key: s.Key, Scheduler: s.Scheduler, Engine: s.Engine}
	return c.change(ctx, subject, s.Check(), func(l *link) error { return l.addService(s) })
}

// UpdateService sets the settings of a service.
func (c *Client) UpdateService(ctx context.Context, s Service) error {
	subject := Subject{Op: OpUpdateService, Key: s.Key, Scheduler: s.Scheduler, Engine: s.Engine}
	return c.change(ctx, subject, s.Check(), func(l *link) error { return l.updateService(s) })
}

// RemoveService removes a service with its destinations.
func (c *Client) RemoveService(ctx context.Context, key Key) error {
	return c.change(ctx, Subject{Op: OpRemoveService, Key: key}, key.Check(), func(l *link) error { return l.removeService(key) })
}

// AddDestination adds a real server to a service.
func (c *Client) AddDestination(ctx context.Context, key Key, d Destination) error {
	s := Subject{Op: OpAddDestination, Key: key, Address: d.Address}
	return c.change(ctx, s, checkBoth(key, d), func(l *link) error { return l.addDestination(key, d) })
}

// UpdateDestination sets the settings of a real server.
func (c *Client) UpdateDestination(ctx context.Context, key Key, d Destination) error {
	s := Subject{Op: OpUpdateDestination, Key: key, Address: d.Address}
	return c.change(ctx, s, checkBoth(key, d), func(l *link) error { return l.updateDestination(key, d) })
}

func checkBoth(key Key, d Destination) error {
	if err := key.Check(); err != nil {
		return err
	}
	return d.Check(key)
}

// RemoveDestination removes a real server from a service.
func (c *Client) RemoveDestination(ctx context.Context, key Key, address netip.AddrPort) error {
	check := key.Check()
	if check == nil {
		check = checkAddress(address.Addr())
	}
	s := Subject{Op: OpRemoveDestination, Key: key, Address: address}
	return c.change(ctx, s, check, func(l *link) error { return l.removeDestination(key, address) })
}

// Zero resets counters.
func (c *Client) Zero(ctx context.Context, key *Key) error {
	s := Subject{Op: OpZero}
	var check error
	if key != nil {
		one := *key // the caller may go on
		key, s.Key, check = &one, one, one.Check()
	}
	return c.change(ctx, s, check, func(l *link) error { return l.zero(key) })
}

// Timeouts reads the timeouts of connections.
func (c *Client) Timeouts(ctx context.Context) (Timeouts, error) {
	return call(ctx, c, Subject{Op: OpTimeouts}, func(l *link) (Timeouts, error) {
		return single(l, cmdGetConfig, nil, decodeTimeouts)
	})
}

// SetTimeouts sets those that are not 0.
func (c *Client) SetTimeouts(ctx context.Context, t Timeouts) error {
	return c.change(ctx, Subject{Op: OpSetTimeouts}, t.Check(), func(l *link) error {
		data, err := encodeTimeouts(t)
		return l.set(cmdSetConfig, data, err)
	})
}

// Daemons lists the sync daemons.
func (c *Client) Daemons(ctx context.Context) ([]Daemon, error) {
	return call(ctx, c, Subject{Op: OpDaemons}, func(l *link) ([]Daemon, error) {
		return dump(l, cmdGetDaemon, nil, decodeDaemon)
	})
}

// StartDaemon starts a sync daemon.
func (c *Client) StartDaemon(ctx context.Context, d Daemon) error {
	return c.change(ctx, Subject{Op: OpStartDaemon, Role: d.Role}, d.Check(), func(l *link) error {
		data, err := encodeDaemon(d)
		return l.set(cmdNewDaemon, data, err)
	})
}

// StopDaemon stops a sync daemon.
func (c *Client) StopDaemon(ctx context.Context, role Role) error {
	return c.change(ctx, Subject{Op: OpStopDaemon, Role: role}, nil, func(l *link) error {
		data, err := encodeRole(role)
		return l.set(cmdDelDaemon, data, err)
	})
}

// Connections goes through the connection table.
func (c *Client) Connections(ctx context.Context) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		s := Subject{Op: OpConnections}
		select {
		case <-c.closing:
			yield(Connection{}, Explain(s, ErrClosed))
			return
		default:
		}
		file, err := c.open.connections()
		if err != nil {
			yield(Connection{}, Explain(s, err))
			return
		}
		defer file.Close()
		for conn, err := range ReadConnections(ctx, file) {
			if !yield(conn, Explain(s, err)) {
				return
			}
		}
	}
}
