package ipvs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
)

// What can go wrong, for errors.Is.
var (
	ErrExists       = errors.New("it exists already")
	ErrMissing      = errors.New("it does not exist")
	ErrNoPermission = errors.New("the kernel does not permit it: IPVS needs root or the capability CAP_NET_ADMIN, outside of any user namespace")
	ErrNoScheduler  = errors.New("the kernel has no such scheduler")
	ErrNoTunnel     = errors.New("the kernel's IPVS has no such tunnels: gue needs Linux 5.2 and gre 5.3")
	ErrNoKernel     = errors.New("the kernel has no IPVS: load it with \"modprobe ip_vs\" " +
		"(on Debian the module is in the package linux-image-amd64, not in every cloud kernel; " +
		"a container needs it loaded on the host and CAP_NET_ADMIN), " +
		"or do without by [lvs] backend = \"relay\"")
	ErrTimeout = errors.New("the kernel's answer did not come in time")
	ErrClosed  = errors.New("the access to IPVS is closed")
)

// errRefused is EINVAL for a server (ip_vs_add_dest, ip_vs_genl_set_cmd).
var errRefused = errors.New("the kernel refuses the server: either it is not an address to which this machine could send " +
	"(unicast, with an interface up), or it is of another family than the service while connections are synchronised")

// An Op names what was to be done with the table.
type Op string

// The operations.
const (
	OpOpen              Op = "open IPVS"
	OpInfo              Op = "read the version"
	OpServices          Op = "list the services"
	OpDestinations      Op = "list the servers of"
	OpAddService        Op = "add the service"
	OpUpdateService     Op = "change the service"
	OpRemoveService     Op = "remove the service"
	OpAddDestination    Op = "add a server to"
	OpUpdateDestination Op = "change a server of"
	OpRemoveDestination Op = "remove a server from"
	OpZero              Op = "zero the counters"
	OpTimeouts          Op = "read the timeouts"
	OpSetTimeouts       Op = "set the timeouts"
	OpDaemons           Op = "list the sync daemons"
	OpStartDaemon       Op = "start the sync daemon"
	OpStopDaemon        Op = "stop the sync daemon"
	OpConnections       Op = "list the connections"
	OpClose             Op = "close IPVS"
)

// A Subject is what a call is about; fields that do not apply are zero.
type Subject struct {
	Op      Op
	Key     Key
	Address netip.AddrPort // of the real server
	Role    Role
	// Scheduler and Engine are what the kernel was asked for.
	Scheduler, Engine string
}

func (s Subject) String() string {
	text := string(s.Op)
	if s.Key != (Key{}) {
		text += " " + s.Key.String()
	}
	if s.Address.IsValid() {
		text += " -r " + s.Address.String()
	}
	if s.Role != 0 {
		text += " " + s.Role.String()
	}
	return text
}

// An Error is a failed call: what was being done, and why it failed.
type Error struct {
	Subject
	Err error
}

func (e *Error) Error() string { return e.Subject.String() + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Explain makes an [*Error] of what the kernel answered to a call, or nil of nil.
func Explain(s Subject, err error) error {
	if err == nil {
		return nil
	}
	if already := (*Error)(nil); errors.As(err, &already) {
		return err
	}
	return &Error{Subject: s, Err: name(s, err)}
}

// name adds the sentinel that belongs to an errno. What ENOENT means depends on
// the question (ip_vs_ctl.c): for a service that its scheduler or persistence
// engine was not found, for a server that it was not; ESRCH is the service, or a
// daemon that is not running.
func name(s Subject, err error) error {
	if named(err) {
		return err
	}
	switch {
	case errors.Is(err, syscall.EEXIST):
		return because(ErrExists, err)
	case errors.Is(err, syscall.ESRCH):
		if s.Address.IsValid() {
			return because(fmt.Errorf("the service: %w", ErrMissing), err)
		}
		return because(ErrMissing, err)
	case errors.Is(err, syscall.ENOENT) && s.Scheduler != "":
		return because(s.noScheduler(), err)
	case errors.Is(err, syscall.ENOENT):
		return because(ErrMissing, err)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return because(ErrNoPermission, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS): // of the last, the answer was lost
		return because(ErrTimeout, err)
	case errors.Is(err, syscall.EINVAL) && s.Address.IsValid():
		return because(errRefused, err)
	}
	return err
}

// named reports whether err has its sentinel already.
func named(err error) bool {
	for _, s := range []error{ErrExists, ErrMissing, ErrNoPermission, ErrNoScheduler, ErrNoTunnel, ErrNoKernel, ErrTimeout, ErrClosed} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// noScheduler names the modules that would help.
func (s Subject) noScheduler() error {
	modules := []string{"ip_vs_" + s.Scheduler}
	what := fmt.Sprintf("%q", s.Scheduler)
	if s.Engine != "" {
		modules = append(modules, "ip_vs_pe_"+s.Engine)
		what += fmt.Sprintf(", or no such persistence engine as %q", s.Engine)
	}
	return fmt.Errorf("%w: %s; load it with \"modprobe %s\"", ErrNoScheduler, what, strings.Join(modules, "\" or \"modprobe "))
}

// because joins the sentinel, whose text is said, with its cause, which
// errors.Is finds.
func because(sentinel, cause error) error { return &caused{sentinel, cause} }

type caused struct{ what, cause error }

func (c *caused) Error() string   { return c.what.Error() + " (" + c.cause.Error() + ")" }
func (c *caused) Unwrap() []error { return []error{c.what, c.cause} }
