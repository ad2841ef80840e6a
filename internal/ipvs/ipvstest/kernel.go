// Package ipvstest has a kernel in memory for tests of what uses an
// [ipvs.Access]. [Kernel] answers as Linux does, remembers what it was asked,
// and can be made to fail, hang, forget and change by itself.
package ipvstest

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/ipvs"
)

// A Call is one call of a method, with what it was given.
type Call struct {
	Op          ipvs.Op
	Key         ipvs.Key       // of all that is about a service
	Address     netip.AddrPort // of the destination
	Service     ipvs.Service
	Destination ipvs.Destination
	Timeouts    ipvs.Timeouts
	Daemon      ipvs.Daemon
	Err         error // what was returned
}

// Changes reports whether the call is one that changes the table.
func (c Call) Changes() bool {
	switch c.Op {
	case ipvs.OpAddService, ipvs.OpUpdateService, ipvs.OpRemoveService,
		ipvs.OpAddDestination, ipvs.OpUpdateDestination, ipvs.OpRemoveDestination,
		ipvs.OpZero, ipvs.OpSetTimeouts, ipvs.OpStartDaemon, ipvs.OpStopDaemon:
		return true
	default:
		return false
	}
}

// String is the call as ipvsadm(8) would be called for it; what has no such form
// is said in words.
func (c Call) String() string {
	switch c.Op {
	case ipvs.OpAddService:
		return "-A " + c.Service.Line()
	case ipvs.OpUpdateService:
		return "-E " + c.Service.Line()
	case ipvs.OpRemoveService:
		return "-D " + c.Key.String()
	case ipvs.OpAddDestination:
		return "-a " + c.Destination.Line(c.Key)
	case ipvs.OpUpdateDestination:
		return "-e " + c.Destination.Line(c.Key)
	case ipvs.OpRemoveDestination:
		return fmt.Sprintf("-d %s -r %s", c.Key, c.Address)
	default:
		return ipvs.Subject{Op: c.Op, Key: c.Key, Address: c.Address, Role: c.Daemon.Role}.String()
	}
}

// A Kernel is a table in memory. [New] makes one. It is safe for concurrent use.
type Kernel struct {
	mu         sync.Mutex // protects all below
	table      []*entry
	schedulers map[string]bool
	timeouts   ipvs.Timeouts
	daemons    []ipvs.Daemon
	conns      []ipvs.Connection
	calls      []Call
	faults     map[int]fault // by the number of the call
	count      int           // of calls so far
	denied     bool
	unloaded   bool
	closed     bool
	noTunnels  bool
}

var _ ipvs.Access = (*Kernel)(nil)

type entry struct {
	service      ipvs.Service
	destinations []ipvs.Destination
}

// A fault is what befalls one call.
type fault struct {
	err    error
	hangs  bool
	before bool // the call does nothing
}

// Schedulers lists what a new Kernel has: what Linux has.
func Schedulers() []string {
	return []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "none"}
}

// New returns an empty table.
func New() *Kernel {
	k := &Kernel{faults: map[int]fault{}}
	k.reset()
	k.SetSchedulers(Schedulers()...)
	return k
}

// reset is what loading the module does.
func (k *Kernel) reset() {
	k.table, k.daemons, k.conns = nil, nil, nil
	k.timeouts = ipvs.Timeouts{TCP: 15 * time.Minute, TCPFin: 2 * time.Minute, UDP: 5 * time.Minute}
}

// SetSchedulers says which modules can be loaded.
func (k *Kernel) SetSchedulers(names ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.schedulers = map[string]bool{}
	for _, name := range names {
		k.schedulers[name] = true
	}
}

// Fail has the nth call from now (1 is the next one) do nothing and return err,
// explained as a [ipvs.Client] explains the kernel's answers: a [syscall.Errno]
// will do.
func (k *Kernel) Fail(n int, err error) { k.fault(n, fault{err: err, before: true}) }

// Hang has the nth call from now do nothing and not return before its ctx is
// done or 5 seconds have passed; it returns [ipvs.ErrTimeout] then.
func (k *Kernel) Hang(n int) { k.fault(n, fault{hangs: true, before: true}) }

// Lose has the nth call from now do its work and return [ipvs.ErrTimeout].
func (k *Kernel) Lose(n int) { k.fault(n, fault{err: ipvs.ErrTimeout}) }

func (k *Kernel) fault(n int, f fault) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults[k.count+n] = f
}

// Deny has all calls fail for want of permission, or no longer.
func (k *Kernel) Deny(yes bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.denied = yes
}

// Unload takes the module away, and with it the table. All calls fail until
// Load, which brings an empty table.
func (k *Kernel) Unload() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reset()
	k.unloaded = true
}

// Load ends what Unload began.
func (k *Kernel) Load() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unloaded = false
}

// WithoutTunnels makes the kernel one from before gue and gre.
func (k *Kernel) WithoutTunnels() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noTunnels = true
}

// Calls returns what was asked so far, in order; calls that failed too.
func (k *Kernel) Calls() []Call {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

// Changes returns the calls that change the table, as lines of ipvsadm -R.
// Those that failed are left out.
func (k *Kernel) Changes() []string {
	var lines []string
	for _, c := range k.Calls() {
		if c.Changes() && c.Err == nil {
			lines = append(lines, c.String())
		}
	}
	return lines
}

// Forget drops the calls so far.
func (k *Kernel) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = nil
}

// enter records a call and says what shall become of it; leave has to follow,
// with the same number.
func (k *Kernel) enter(ctx context.Context, c Call) (number int, err error) {
	k.mu.Lock()
	k.count++
	number = len(k.calls)
	k.calls = append(k.calls, c)
	f, hit := k.faults[k.count]
	delete(k.faults, k.count)
	defer k.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return number, ctx.Err()
	case k.closed:
		return number, ipvs.ErrClosed
	case hit && f.hangs:
		k.mu.Unlock()
		err := hang(ctx)
		k.mu.Lock()
		return number, err
	case hit && f.before:
		return number, f.err
	case k.unloaded:
		return number, ipvs.ErrNoKernel
	case k.denied:
		return number, syscall.EPERM
	case hit:
		return number, &lost{f.err}
	}
	return number, nil
}

// hang waits as a [ipvs.Client] waits for the kernel.
func hang(ctx context.Context) error {
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-limit.C:
		return ipvs.ErrTimeout
	}
}

// lost is an error that comes after the work is done.
type lost struct{ err error }

func (l *lost) Error() string { return l.err.Error() }
func (l *lost) Unwrap() error { return l.err }

// do is one call: recorded, perhaps befallen by a fault, made under the lock,
// and explained.
func (k *Kernel) do(ctx context.Context, c Call, work func() error) error {
	number, err := k.enter(ctx, c)
	after, isLost := err.(*lost) //nolint:errorlint // made by enter, never wrapped
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case isLost:
		if err = work(); err == nil {
			err = after.err
		}
	case err == nil:
		err = work()
	}
	err = ipvs.Explain(ipvs.Subject{
		Op: c.Op, Key: c.Key, Address: c.Address, Role: c.Daemon.Role,
		Scheduler: c.Service.Scheduler, Engine: c.Service.Engine,
	}, err)
	if number < len(k.calls) { // not forgotten meanwhile
		k.calls[number].Err = err
	}
	return err
}

// Info implements [ipvs.Access], as do all below.
func (k *Kernel) Info(ctx context.Context) (info ipvs.Info, err error) {
	err = k.do(ctx, Call{Op: ipvs.OpInfo}, func() error {
		info = ipvs.Info{Version: "1.2.1", ConnectionTableSize: 4096}
		return nil
	})
	return info, err
}

func (k *Kernel) Timeouts(ctx context.Context) (t ipvs.Timeouts, err error) {
	err = k.do(ctx, Call{Op: ipvs.OpTimeouts}, func() error { t = k.timeouts; return nil })
	return t, err
}

func (k *Kernel) SetTimeouts(ctx context.Context, t ipvs.Timeouts) error {
	return k.do(ctx, Call{Op: ipvs.OpSetTimeouts, Timeouts: t}, func() error {
		if err := t.Check(); err != nil {
			return err
		}
		for _, v := range []struct {
			to   *time.Duration
			from time.Duration
		}{{&k.timeouts.TCP, t.TCP}, {&k.timeouts.TCPFin, t.TCPFin}, {&k.timeouts.UDP, t.UDP}} {
			if v.from != 0 {
				*v.to = v.from
			}
		}
		return nil
	})
}

func (k *Kernel) Connections(ctx context.Context) iter.Seq2[ipvs.Connection, error] {
	return func(yield func(ipvs.Connection, error) bool) {
		var conns []ipvs.Connection
		err := k.do(ctx, Call{Op: ipvs.OpConnections}, func() error { conns = slices.Clone(k.conns); return nil })
		if err != nil {
			yield(ipvs.Connection{}, err)
			return
		}
		for _, c := range conns {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Close may be called twice.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	return nil
}
