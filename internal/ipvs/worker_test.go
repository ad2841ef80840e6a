package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"
)

var (
	oneService = nested(attrService, attr(svcFamily, u16(2)...), attr(svcProtocol, u16(6)...), attr(svcAddress, union("10.0.0.1")...), attr(svcPort, 0, 80))
	oneServer  = nested(attrDest, attr(destAddress, union("10.0.0.2")...), attr(destPort, 0, 80), attr(destFamily, u16(2)...))
	webService = Service{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc"}
	webServer  = Destination{Address: ap("10.0.0.2:80"), Forward: Route, Weight: 1}
)

// TestSilence: a kernel that does not answer costs the caller 5 seconds, and
// nobody anything after it.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet := true
		w := newWire(func(request) ([]netlink.Message, error) {
			if quiet {
				return nil, silence{}
			}
			return list(oneService), nil
		})
		c := newWireClient(t, w)
		begin := time.Now()
		_, err := c.Services(t.Context())
		if took := time.Since(begin); !errors.Is(err, ErrTimeout) || took != patience {
			t.Errorf("a silent kernel: %v after %v", err, took)
		}
		synctest.Wait()
		quiet = false
		if all, err := c.Services(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("afterwards: %v, %v", all, err)
		}
		if w.sockets != 2 || w.open != 1 {
			t.Errorf("%d sockets opened, %d are open; want 2, 1", w.sockets, w.open)
		}
	})
}

// TestStuck: calls that hang in the kernel cannot be woken; there are only so
// many of them.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newWire(func(request) ([]netlink.Message, error) {
			<-release
			return list(oneService), nil
		})
		c, err := newClient(t.Context(), w, patience)
		must(t, err)
		for range maxStuck {
			if _, err := c.Services(t.Context()); !errors.Is(err, ErrTimeout) {
				t.Errorf("a stuck call: %v", err)
			}
		}
		begin := time.Now()
		_, err = c.Services(t.Context())
		if took := time.Since(begin); !errors.Is(err, ErrTimeout) || took != 0 || !strings.Contains(err.Error(), "4 earlier calls") {
			t.Errorf("one too many: %v after %v", err, took)
		}
		if len(w.seen()) != maxStuck {
			t.Error("the call was made all the same")
		}
		close(release)
		synctest.Wait()
		if all, err := c.Services(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("afterwards: %v, %v", all, err)
		}
		must(t, c.Close())
		if w.open != 0 {
			t.Errorf("%d sockets are open", w.open)
		}
	})
}

// TestCloseStuck: Close waits, but not for ever.
func TestCloseStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newWire(func(request) ([]netlink.Message, error) {
			<-release
			return list(), nil
		})
		c, err := newClient(t.Context(), w, patience)
		must(t, err)
		refused := make(chan error)
		go func() {
			_, err := c.Services(t.Context())
			refused <- err
		}()
		synctest.Wait()
		begin := time.Now()
		go func() {
			if err := <-refused; !errors.Is(err, ErrClosed) || time.Since(begin) != 0 {
				t.Errorf("the call under way: %v after %v", err, time.Since(begin))
			}
		}()
		err = c.Close()
		if took := time.Since(begin); !errors.Is(err, ErrTimeout) || took != patience {
			t.Errorf("close: %v after %v", err, took)
		}
		if err := c.RemoveService(t.Context(), webService.Key); !errors.Is(err, ErrClosed) {
			t.Errorf("a call afterwards: %v", err)
		}
		for _, err := range c.Connections(t.Context()) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("connections afterwards: %v", err)
			}
		}
		close(release)
		synctest.Wait()
		if err := c.Close(); !errors.Is(err, ErrTimeout) {
			t.Errorf("a second close: %v, want the same", err)
		}
	})
}

// TestCancel: who does not wait any more is let go at once, and the call is
// ended in order.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newWire(func(request) ([]netlink.Message, error) {
			<-release
			return refusal(0), nil
		})
		c := newWireClient(t, w)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := c.RemoveService(ctx, webService.Key)
		if took := time.Since(begin); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("a deadline: %v after %v", err, took)
		}
		// The next in the queue waits for the first, not for ever either.
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := c.RemoveService(ctx, webService.Key); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
			t.Errorf("cancelled in the queue: %v", err)
		}
		if err := c.RemoveService(ctx, webService.Key); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		close(release)
		synctest.Wait()
		must(t, c.RemoveService(t.Context(), webService.Key))
		if n := len(w.seen()); n != 2 || w.sockets != 1 {
			t.Errorf("%d calls came to the kernel by %d sockets, want 2 by 1", n, w.sockets)
		}
	})
}

// TestInterruptedDump: a list that changed meanwhile is read again.
func TestInterruptedDump(t *testing.T) {
	for _, tc := range []struct {
		name     string
		times    int
		fault    func() ([]netlink.Message, error)
		sockets  int
		wantDone bool
	}{
		{"flag", attempts - 1, interrupted, 1, true},
		{"flag for ever", 1000, interrupted, 1, false},
		{"EINTR", 1, func() ([]netlink.Message, error) { return refusal(syscall.EINTR), nil }, 1, true},
		{"ENOBUFS", 2, func() ([]netlink.Message, error) { return nil, syscall.ENOBUFS }, 3, true},
		{"ENOBUFS for ever", 1000, func() ([]netlink.Message, error) { return nil, syscall.ENOBUFS }, 1 + attempts, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			w := newWire(func(request) ([]netlink.Message, error) {
				if n++; n <= tc.times {
					return tc.fault()
				}
				return list(oneService, oneService), nil
			})
			c := newWireClient(t, w)
			all, err := c.Services(t.Context())
			if tc.wantDone && (err != nil || len(all) != 1) {
				t.Errorf("services %v, %v; want the one, once", all, err)
			}
			if !tc.wantDone && (err == nil || n != attempts) {
				t.Errorf("%v after %d attempts, want an error after %d", err, n, attempts)
			}
			if w.sockets != tc.sockets {
				t.Errorf("%d sockets, want %d", w.sockets, tc.sockets)
			}
		})
	}
}

func interrupted() ([]netlink.Message, error) {
	all := list(oneService)
	all[0].Header.Flags |= netlink.DumpInterrupted
	return all, nil
}

// TestLostAnswer: of a change it is not known whether it was made, so it is not
// repeated.
func TestLostAnswer(t *testing.T) {
	n := 0
	w := newWire(func(request) ([]netlink.Message, error) {
		if n++; n == 1 {
			return nil, syscall.ENOBUFS
		}
		return refusal(0), nil
	})
	c := newWireClient(t, w)
	if err := c.RemoveService(t.Context(), webService.Key); !errors.Is(err, ErrTimeout) || !errors.Is(err, syscall.ENOBUFS) || n != 1 {
		t.Errorf("%v after %d attempts", err, n)
	}
	must(t, c.RemoveService(t.Context(), webService.Key))
	if w.sockets != 2 {
		t.Errorf("%d sockets, want a new one after the loss", w.sockets)
	}
}

// TestUnload: the module goes and comes back under another number.
func TestUnload(t *testing.T) {
	w := newWire(acknowledge)
	lib := &fakeLibrary{}
	w.lib = lib
	c := newWireClient(t, w)
	ctx := t.Context()
	must(t, c.AddService(ctx, webService))
	w.move(0)
	lib.fail(syscall.ENOENT) // to the number that it knows
	for range 2 {
		if err := c.AddService(ctx, webService); !errors.Is(err, ErrNoKernel) {
			t.Errorf("unloaded, adding: %v", err)
		}
		if _, err := c.Services(ctx); !errors.Is(err, ErrNoKernel) {
			t.Errorf("unloaded, listing: %v", err)
		}
	}
	w.move(31)
	must(t, c.AddService(ctx, webService))
	if n := len(lib.calls()); n != 2 {
		t.Errorf("the library was called %d times: it does not know the new number", n)
	}
	w.move(32) // unloaded and loaded unseen
	must(t, c.RemoveService(ctx, webService.Key))
	commands := []command{}
	for _, r := range w.seen() {
		commands = append(commands, r.command)
	}
	if !slices.Equal(commands, []command{cmdNewService, cmdDelService}) {
		t.Errorf("commands %v", commands)
	}
}

// TestNoFamily: without the family nothing is opened.
func TestNoFamily(t *testing.T) {
	w := newWire(acknowledge)
	w.move(0)
	c, err := newClient(t.Context(), w, patience)
	if c != nil || !errors.Is(err, ErrNoKernel) || !strings.Contains(err.Error(), "modprobe ip_vs") {
		t.Errorf("opened: %v", err)
	}
	if w.open != 0 {
		t.Errorf("%d sockets left open", w.open)
	}
}

// A fakeLibrary records.
type fakeLibrary struct {
	mu    sync.Mutex // protects the rest
	made  []string
	err   error
	panic bool
	block chan struct{}
}

func (f *fakeLibrary) record(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = append(f.made, fmt.Sprintf(format, args...))
	if f.panic {
		panic("index out of range")
	}
	if f.block != nil {
		<-f.block
	}
	return f.err
}

func (f *fakeLibrary) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeLibrary) calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.made)
}

func (f *fakeLibrary) AddService(s Service) error    { return f.record("-A %s", s.Line()) }
func (f *fakeLibrary) UpdateService(s Service) error { return f.record("-E %s", s.Line()) }
func (f *fakeLibrary) RemoveService(k Key) error     { return f.record("-D %s", k) }
func (f *fakeLibrary) AddDestination(k Key, d Destination) error {
	return f.record("-a %s", d.Line(k))
}

func (f *fakeLibrary) UpdateDestination(k Key, d Destination) error {
	return f.record("-e %s", d.Line(k))
}

func (f *fakeLibrary) RemoveDestination(k Key, a netip.AddrPort) error {
	return f.record("-d %s -r %s", k, a)
}
func (f *fakeLibrary) Close() error { return nil }

// TestDivision: who makes which call.
func TestDivision(t *testing.T) {
	key := webService.Key
	gue := Destination{Address: ap("10.0.0.2:80"), Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GUE, Port: 1}}
	mixed := Destination{Address: ap("[2001:db8::2]:80"), Forward: Tunnel, Weight: 1}
	ipip := Destination{Address: ap("10.0.0.2:80"), Forward: Tunnel, Weight: 1}
	w := newWire(func(r request) ([]netlink.Message, error) {
		if r.command == cmdGetDest {
			return list(nested(attrDest, attr(destAddress, union("10.0.0.2")...), attr(destPort, 0, 80), attr(destForward, u32(2)...), attr(destTunnelType, 1))), nil
		}
		return refusal(0), nil
	})
	lib := &fakeLibrary{}
	w.lib = lib
	c := newWireClient(t, w)
	ctx := t.Context()
	for _, tc := range []struct {
		name    string
		make    func() error
		library string
		wire    []command
	}{
		{"add service", func() error { return c.AddService(ctx, webService) }, "-A -t 10.0.0.1:80 -s wlc", nil},
		{"update service", func() error { return c.UpdateService(ctx, webService) }, "-E -t 10.0.0.1:80 -s wlc", nil},
		{"add", func() error { return c.AddDestination(ctx, key, webServer) }, "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1", nil},
		{"update to ipip", func() error { return c.UpdateDestination(ctx, key, ipip) }, "-e -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1", nil},
		{"remove", func() error { return c.RemoveDestination(ctx, key, webServer.Address) }, "-d -t 10.0.0.1:80 -r 10.0.0.2:80", nil},
		{"add gue", func() error { return c.AddDestination(ctx, key, gue) }, "", []command{cmdNewDest, cmdGetDest}},
		{"update gue", func() error { return c.UpdateDestination(ctx, key, gue) }, "", []command{cmdSetDest}},
		{"add mixed", func() error { return c.AddDestination(ctx, key, mixed) }, "", []command{cmdNewDest}},
		{"remove mixed", func() error { return c.RemoveDestination(ctx, key, mixed.Address) }, "", []command{cmdDelDest}},
		{"remove service", func() error { return c.RemoveService(ctx, key) }, "-D -t 10.0.0.1:80", nil},
	} {
		before := len(lib.calls())
		must(t, tc.make())
		made := strings.Join(lib.calls()[before:], "; ")
		var sent []command
		for _, r := range w.seen() {
			sent = append(sent, r.command)
		}
		if made != tc.library || !slices.Equal(sent, tc.wire) {
			t.Errorf("%s: by the library %q, by the companion %v; want %q, %v", tc.name, made, sent, tc.library, tc.wire)
		}
	}
}

// TestLibraryFaults: a panic is an error, and the last call of the library;
// hanging is a timeout.
func TestLibraryFaults(t *testing.T) {
	w := newWire(acknowledge)
	lib := &fakeLibrary{panic: true}
	w.lib = lib
	c := newWireClient(t, w)
	if err := c.AddService(t.Context(), webService); !errors.Is(err, errPanicked) {
		t.Errorf("a panic: %v", err)
	}
	must(t, c.AddService(t.Context(), webService))
	if n := len(lib.calls()); n != 1 {
		t.Errorf("the library was called %d times", n)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWire(acknowledge)
		lib := &fakeLibrary{block: make(chan struct{})}
		w.lib = lib
		c := newWireClient(t, w)
		if err := c.AddService(t.Context(), webService); !errors.Is(err, ErrTimeout) {
			t.Errorf("hanging: %v", err)
		}
		close(lib.block)
	})
}

// TestNotUnderstood: a kernel from before gue would send ipip.
func TestNotUnderstood(t *testing.T) {
	w := newWire(func(r request) ([]netlink.Message, error) {
		if r.command == cmdGetDest {
			return list(oneServer), nil
		}
		return refusal(0), nil
	})
	c := newWireClient(t, w)
	d := Destination{Address: ap("10.0.0.2:80"), Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GRE}}
	if err := c.AddDestination(t.Context(), webService.Key, d); !errors.Is(err, ErrNoTunnel) {
		t.Errorf("added: %v", err)
	}
	if sent := w.seen(); len(sent) != 3 || sent[2].command != cmdDelDest {
		t.Errorf("the destination was not removed: %v", sent)
	}
	if err := c.UpdateDestination(t.Context(), webService.Key, d); !errors.Is(err, ErrNoTunnel) {
		t.Errorf("changed: %v", err)
	}
}

// TestEmptyList: the kernel's list of no servers and that of no service are the
// same.
func TestEmptyList(t *testing.T) {
	there := false
	w := newWire(func(r request) ([]netlink.Message, error) {
		switch {
		case r.command == cmdGetDest:
			return list(), nil
		case there:
			return []netlink.Message{payload(oneService)}, nil
		}
		return refusal(syscall.ESRCH), nil
	})
	c := newWireClient(t, w)
	if _, err := c.Destinations(t.Context(), webService.Key); !errors.Is(err, ErrMissing) {
		t.Errorf("no service: %v", err)
	}
	there = true
	if all, err := c.Destinations(t.Context(), webService.Key); err != nil || len(all) != 0 {
		t.Errorf("no servers: %v, %v", all, err)
	}
}

// TestMany has many callers at once.
func TestMany(t *testing.T) {
	w := newWire(func(r request) ([]netlink.Message, error) {
		if r.command == cmdGetService {
			return list(oneService), nil
		}
		return refusal(0), nil
	})
	c := newWireClient(t, w)
	var running sync.WaitGroup
	for range 50 {
		running.Go(func() {
			for range 20 {
				if _, err := c.Services(t.Context()); err != nil {
					t.Error(err)
				}
				if err := c.AddDestination(t.Context(), webService.Key, webServer); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	if n := len(w.seen()); n != 2000 {
		t.Errorf("%d calls came, want 2000", n)
	}
}

func TestConnectionsOfClient(t *testing.T) {
	c := newWireClient(t, newWire(acknowledge))
	n := 0
	for conn, err := range c.Connections(t.Context()) {
		if err != nil || conn.State != "ESTABLISHED" {
			t.Errorf("%+v, %v", conn, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestMoved: unloaded and loaded again unseen, the module has another number,
// which the library does not know.
func TestMoved(t *testing.T) {
	w := newWire(acknowledge)
	lib := &fakeLibrary{err: syscall.ENOENT}
	w.lib = lib
	c := newWireClient(t, w)
	w.move(31)
	must(t, c.AddService(t.Context(), webService))
	must(t, c.RemoveService(t.Context(), webService.Key))
	if n, sent := len(lib.calls()), len(w.seen()); n != 1 || sent != 2 {
		t.Errorf("%d calls of the library, %d of the companion; want 1, 2", n, sent)
	}
}

// TestNobodyWaits: a change that the caller has given up is not made.
func TestNobodyWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := newWire(acknowledge)
	o := &owner{open: w, patience: patience}
	o.serve(job{ctx: ctx, run: func(*link) { t.Error("it is made") }, refuse: func(error) {}})
	if o.worker != nil || w.sockets != 0 {
		t.Error("a worker was started")
	}
}
