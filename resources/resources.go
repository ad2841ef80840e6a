// Package resources is the contract of a resource: something that runs on the
// active director only and moves with its group - the virtual address, the LVS
// table, an init script. A kind of resource lives in a folder of its own below
// this one, registers itself with [Register] from init, and is compiled in by a
// blank import in cmd/monitord.
package resources

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/monitord/monitord/internal/plugin"
)

// A Resource is started on the director that owns its group and stopped before
// any other may start it.
//
// All calls are idempotent and come from one goroutine; they return when ctx is
// done at the latest. Start leaves nothing behind when it fails. Stop is the
// call that must not fail: as long as it has not succeeded nobody else may start
// the resource. They do not log, retry or outlive the call.
type Resource interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	// Status finds out, and changes nothing. An error means that it could not
	// be found out.
	Status(ctx context.Context) (Status, error)
}

// A Renewer is a resource held on a lease, such as an address with a limited
// lifetime in the kernel. Renew is called several times per lifetime while this
// director is entitled to it, and never after a pause that outlasted the lease.
type Renewer interface {
	Resource
	Renew(ctx context.Context) error
}

// An Address is a resource that others on the network see: a virtual address. A
// group's addresses are taken and given up at once; what stands before them in the
// group is started before, what stands behind them after.
type Address interface {
	Renewer
	// Prefix is the address with the length of its network.
	Prefix() netip.Prefix
	// Lease is for how long the kernel holds it without a renewal.
	Lease() time.Duration
	// Device is the network device that has or gets it, as things are now.
	Device(ctx context.Context) (string, error)
}

// Status is what a resource is found to be.
type Status int

// The states. Failed is a resource that is partly there, or in somebody's way.
const (
	Stopped Status = iota
	Running
	Failed
)

func (s Status) String() string {
	switch s {
	case Stopped:
		return "stopped"
	case Running:
		return "running"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("status %d", int(s))
}

// A Site is what the daemon tells each resource about the place it runs in.
type Site struct {
	StateDir, LogDir, ConfigDir string
	// Hostname is this director's name.
	Hostname string
	// Table is what this director forwards; nil if it forwards nothing.
	Table Table
}

// A Table is what a director forwards: virtual services, which it holds while it is
// the active one and resigns else. Without names all that belong to groups are meant.
// Its methods may be called by several goroutines at once.
type Table interface {
	// Virtuals lists the names of all virtual services, as configured.
	Virtuals() []string
	// Hold returns when the services are forwarded, and Resign when none is.
	Hold(ctx context.Context, names ...string) error
	Resign(ctx context.Context, names ...string) error
	// Standing finds out, as a resource's Status does.
	Standing(ctx context.Context, names ...string) (Status, error)
}

// A Governor is a resource by which virtual services belong to its group.
type Governor interface {
	Resource
	// Governs lists them; none are all.
	Governs() []string
}

// A Forerunner is a resource that has to stand before the addresses of its group.
type Forerunner interface {
	Resource
	// BeforeAddress says why, as the rest of a sentence after "because".
	BeforeAddress() string
}

// Duration and Secret are the types for such keys in a resource's configuration.
type (
	Duration = plugin.Duration
	Secret   = plugin.Secret
)

// A Warner is a resource's configuration struct that warns of itself: the errors are shown by
// "monitord check" and at the start, each at the key that [BadKey] named, and stop
// nothing. It is asked after a resource was built of it.
type Warner = plugin.Warner

// BadKey returns an error about one key of the resource's configuration.
func BadKey(key, format string, args ...any) error { return plugin.BadKey(key, format, args...) }

var registry = plugin.NewRegistry[Resource, Site]("resource")

// Register adds a kind of resource: its name, its defaults, and the function
// that makes a resource from the user's values on top of these. Call it from
// init; a name used twice panics.
func Register[C any](kind string, defaults C, build func(C, Site) (Resource, error)) {
	plugin.Register(registry, kind, defaults, build)
}

// Build makes a resource of a registered kind.
func Build(kind string, site Site, bind plugin.Bind) (Resource, error) {
	return registry.Build(kind, site, bind)
}

// Kinds lists what is registered, in alphabetical order.
func Kinds() []string { return registry.Kinds() }

// Defaults returns a pointer to a copy of a kind's default configuration, nil if
// there is no such kind.
func Defaults(kind string) any { return registry.Defaults(kind) }
