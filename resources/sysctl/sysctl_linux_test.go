package sysctl

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside is a resource whose calls are made in a namespace.
type inside struct {
	*Parameter
	space *netiftest.Space
}

func (i inside) Start(ctx context.Context) error { return i.do(ctx, i.Parameter.Start) }
func (i inside) Stop(ctx context.Context) error  { return i.do(ctx, i.Parameter.Stop) }

func (i inside) Status(ctx context.Context) (s resources.Status, err error) {
	err = i.do(ctx, func(ctx context.Context) (err error) {
		s, err = i.Parameter.Status(ctx)
		return err
	})
	return s, err
}

func (i inside) do(ctx context.Context, call func(context.Context) error) error {
	return i.space.Try(func(context.Context) error { return call(ctx) })
}

const (
	forward = "net.ipv4.ip_forward"
	several = "net.ipv4.ip_local_port_range"
)

// made returns what makes the resource in a namespace and with a folder of its own.
func made(t testing.TB, c Config) (func() inside, *netiftest.Space) {
	s, dir := netiftest.New(t), t.TempDir()
	return func() inside {
		r, err := build(c, resources.Site{StateDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return inside{r.(*Parameter), s}
	}, s
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]Config{
		"what was found":       {Key: forward, Value: "1"},
		"what was found is it": {Key: forward, Value: "0"},
		"the value of standby": {Key: forward, Value: "1", Stopped: "0"},
		"several values":       {Key: several, Value: "20000 30000"},
	} {
		t.Run(name, func(t *testing.T) {
			resourcetest.Run(t, resourcetest.Subject{
				New: func(t testing.TB) func() resources.Resource {
					build, _ := made(t, c)
					return func() resources.Resource { return build() }
				},
				Broken: func(t testing.TB) func() resources.Resource {
					build, _ := made(t, Config{Key: "net.ipv4.conf.eth77.arp_ignore", Value: c.Value})
					return func() resources.Resource { return build() }
				},
				Blocked: blocked,
			})
		})
	}
}

// blocked is a resource whose memory somebody holds, for as long as the first call
// lasts.
func blocked(t testing.TB) func() resources.Resource {
	build, _ := made(t, Config{Key: forward, Value: "1"})
	store, err := state.Open(build().dir)
	if err != nil {
		t.Fatal(err)
	}
	return func() resources.Resource { return freed{build(), store} }
}

// freed lets the memory go after Start.
type freed struct {
	inside
	store *state.Store
}

func (f freed) Start(ctx context.Context) error {
	err := f.inside.Start(ctx)
	return errors.Join(err, f.store.Close())
}

func value(t *testing.T, s *netiftest.Space, key netif.Sysctl) (is string) {
	t.Helper()
	s.Do(func(context.Context) (err error) {
		is, err = key.Get()
		return err
	})
	return strings.Join(strings.Fields(is), " ")
}

func set(t *testing.T, s *netiftest.Space, key netif.Sysctl, value string) {
	t.Helper()
	s.Do(func(context.Context) error { return key.Set(value) })
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, when string, r inside, status resources.Status, want string) {
	t.Helper()
	got, err := r.Status(t.Context())
	if is := value(t, r.space, r.key); err != nil || got != status || is != want {
		t.Errorf("%s: %s, %q, %v; want %s, %q", when, got, is, err, status, want)
	}
}

// What was found comes back, also to a daemon that was started anew.
func TestFoundComesBack(t *testing.T) {
	build, s := made(t, Config{Key: several, Value: "20000 30000"})
	set(t, s, several, "1024 2048")
	must(t, build().Start(t.Context()), build().Start(t.Context()))
	has(t, "started", build(), resources.Running, "20000 30000")
	must(t, build().Stop(t.Context()))
	has(t, "stopped", build(), resources.Stopped, "1024 2048")
	must(t, build().Stop(t.Context()))
	has(t, "stopped twice", build(), resources.Stopped, "1024 2048")
}

// A value that somebody else has set is seen, and theirs when all is over.
func TestTheirs(t *testing.T) {
	build, s := made(t, Config{Key: several, Value: "20000 30000"})
	set(t, s, several, "1024 2048")
	r := build()
	must(t, r.Start(t.Context()))
	set(t, s, several, "5000 6000")
	has(t, "changed", r, resources.Failed, "5000 6000")
	must(t, r.Start(t.Context()))
	has(t, "started again", r, resources.Running, "20000 30000")
	must(t, r.Stop(t.Context()))
	has(t, "stopped", r, resources.Stopped, "5000 6000")
	must(t, r.Start(t.Context()))
	set(t, s, several, "7000 8000")
	must(t, r.Stop(t.Context()))
	has(t, "stopped after a change", r, resources.Stopped, "7000 8000")
}

// With a value for standby nothing is remembered: whatever was there before.
func TestStopped(t *testing.T) {
	build, s := made(t, Config{Key: several, Value: "20000 30000", Stopped: "1024 2048"})
	r := build()
	set(t, s, several, "5000 6000")
	has(t, "neither", r, resources.Failed, "5000 6000")
	must(t, r.Stop(t.Context()))
	has(t, "stopped", r, resources.Stopped, "1024 2048")
	must(t, r.Start(t.Context()), build().Stop(t.Context()))
	has(t, "stopped again", r, resources.Stopped, "1024 2048")
	if _, err := os.Stat(filepath.Dir(r.dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was remembered: %v", err)
	}
}

// What the kernel refuses, or makes something else of, is an error that leaves
// nothing behind.
func TestRefused(t *testing.T) {
	for _, c := range []Config{
		{Key: several, Value: "30000 20000"},
		{Key: several, Value: "many"},
		{Key: forward, Value: "0x1"}, // of which it makes 1
	} {
		build, s := made(t, c)
		before := value(t, s, netif.Sysctl(c.Key))
		r := build()
		if err := r.Start(t.Context()); err == nil {
			t.Errorf("%s = %s: no error", c.Key, c.Value)
		}
		has(t, c.Value, r, resources.Stopped, before)
	}
}

// Another namespace, as after a reboot, does not get what was found in this one.
func TestAnotherNamespace(t *testing.T) {
	build, _ := made(t, Config{Key: forward, Value: "1"})
	r := build()
	must(t, r.Start(t.Context()))
	r.space = netiftest.New(t)
	set(t, r.space, forward, "1")
	has(t, "in another namespace", r, resources.Stopped, "1")
	must(t, r.Stop(t.Context()))
	has(t, "stopped there", r, resources.Stopped, "1")
}

// A daemon that waits for the memory gets it.
func TestWaits(t *testing.T) {
	build, _ := made(t, Config{Key: forward, Value: "1"})
	r := build()
	store, err := state.Open(r.dir)
	must(t, err)
	done := time.AfterFunc(50*time.Millisecond, func() { _ = store.Close() })
	defer done.Stop()
	must(t, r.Start(t.Context()))
	has(t, "started", r, resources.Running, "1")
}
