package dial

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"

	"github.com/monitord/monitord/monitors"
)

// Verdict decides what an error of a lookup, a connection, a read or a write
// says about the host. What the host or the path to it said is returned as it
// is, which means down: refused, reset, closed, unreachable, timed out, and any
// violation of a protocol. What failed on this machine is marked
// [monitors.Untested]: every error of a name server, and every error of the
// kernel that is not known to come from the other side.
//
// "Network is unreachable" counts as local. It says that this machine has no
// route, which is what a pulled cable or a lost default route looks like, and
// must not empty a pool; that a router can answer so too is the rarer case.
func Verdict(err error) error {
	var dns *net.DNSError
	var roots x509.SystemRootsError
	var errno syscall.Errno
	switch {
	case err == nil || errors.Is(err, monitors.ErrUntested):
		return err
	case errors.As(err, &dns) || errors.As(err, &roots):
		return monitors.Untested(err)
	case errors.As(err, &errno) && !fromHost(errno):
		return monitors.Untested(err)
	}
	return err
}

// fromHost lists what the other side, or a router near it, causes. A refusal
// is a RST or an ICMP port unreachable; EHOSTUNREACH is unanswered ARP or an ICMP
// host unreachable; ENOPROTOOPT is an ICMP protocol unreachable (Linux
// net/ipv4/icmp.c, icmp_err_convert).
func fromHost(e syscall.Errno) bool {
	return slices.Contains([]syscall.Errno{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ETIMEDOUT, syscall.ENOPROTOOPT,
	}, e)
}

// bare strips what package net wraps around a cause: the operation and the
// addresses, which the caller names itself. What the other side of a TLS
// connection complained about keeps its "remote error".
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op != "remote error" {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}

// isBind reports whether the source address could not be used.
func isBind(err error) bool {
	var call *os.SyscallError
	return errors.As(err, &call) && call.Syscall == "bind"
}

// Broken is [Verdict] on an error of an open connection, without the addresses
// of both ends and within a readable length: certificates and malformed answers
// are the other side's words.
func Broken(err error) error {
	err = Verdict(bare(err))
	if err == io.EOF { //nolint:errorlint // A wrapped one says already what ended.
		return &cleaned{text: "the connection was closed", err: err}
	}
	if text := err.Error(); text != Clean(text, maxReason) {
		return &cleaned{text: Clean(text, maxReason), err: err}
	}
	return err
}

// maxReason is how many bytes of an error's text are worth reading.
const maxReason = 300

type cleaned struct {
	text string
	err  error
}

func (c *cleaned) Error() string { return c.text }
func (c *cleaned) Unwrap() error { return c.err }
