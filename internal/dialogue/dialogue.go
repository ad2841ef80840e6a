// Package dialogue talks with the hosts of a group for the monitors of protocols
// in which one side says something and the other answers: it connects, reads
// lines, replies or bytes with bounds, sends, changes to TLS on the way, and words
// what went wrong, so that a monitor holds nothing but its protocol.
//
// Whatever a host does, a call ends: all that is read counts against one limit,
// and the time is the context's.
package dialogue

import (
	"cmp"
	"context"
	"strings"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

// Enough is how many bytes a host may say in one call where no key decides it.
const Enough = 64 << 10

// Settings are the keys that monitors of this sort share, by their names in the
// configuration.
type Settings struct {
	Port    int // 0: DefaultPort, or with TLS TLSPort
	Timeout monitors.Duration
	Limit   int
	Source  string
	IP      string
	// MaxBytes bounds what a host may say in one call, the key max_bytes.
	MaxBytes int

	TLS bool // from the start, the key tls
	// StartTLS is the key starttls: the monitor calls [Call.Secure] on the way.
	StartTLS    bool
	Certificate dial.TLSKeys

	// DefaultPort and TLSPort are the protocol's own; 0 means that it has none.
	DefaultPort, TLSPort int
}

// A Caller calls hosts as its settings say.
type Caller struct {
	settings Settings
	port     int
	dialer   *dial.Dialer
	tls      *dial.TLS // nil without tls and starttls
}

// New parses settings, and blames the key that is wrong.
func New(s Settings) (*Caller, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	dialer, err := dial.New(s.Source, s.IP)
	if err != nil {
		return nil, err
	}
	c := &Caller{settings: s, dialer: dialer, port: cmp.Or(s.Port, s.DefaultPort)}
	if s.TLS {
		c.port = cmp.Or(s.Port, s.TLSPort, s.DefaultPort)
	}
	if !s.TLS && !s.StartTLS {
		return c, s.Certificate.Unused()
	}
	c.tls, err = dial.NewTLS(s.Certificate)
	return c, err
}

func (s Settings) check() error {
	switch {
	case s.Port < 0 || s.Port > 65535:
		return monitors.BadKey("port", "%d is no TCP port: write a number from 1 to 65535", s.Port)
	case s.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"10s\"", s.Timeout)
	case s.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", s.Limit)
	case s.MaxBytes < 1 || s.MaxBytes > 1<<20:
		return monitors.BadKey("max_bytes", "%d is out of range: write a number from 1 to 1048576", s.MaxBytes)
	case s.TLS && s.StartTLS:
		return monitors.BadKey("starttls", "has no use with tls = true, which is TLS from the start: leave one of them out")
	}
	return nil
}

// CheckLogin blames the keys user and password if a line of a protocol cannot hold
// them.
func CheckLogin(user string, password monitors.Secret) error {
	const ends = "\r\n\x00"
	switch {
	case password != "" && user == "":
		return monitors.BadKey("password", "has no use without user")
	case strings.ContainsAny(user, ends):
		return monitors.BadKey("user", "has a line end or NUL in it, which would end the line that is sent")
	case strings.ContainsAny(password.Reveal(), ends):
		return monitors.BadKey("password", "has a line end or NUL in it, which would end the line that is sent")
	}
	return nil
}

// InTheClear warns of a password that everybody on the way can read, unless the call is
// secured by TLS. instead is what to do about it.
func InTheClear(password monitors.Secret, secured bool, instead string) []error {
	if password == "" || secured {
		return nil
	}
	return []error{monitors.BadKey("password", "goes to the hosts in the clear, for everybody on the way to read: %s", instead)}
}

// A Talk is what is said on one call, until the verdict: nil is up.
type Talk func(ctx context.Context, call *Call) error

// Monitor makes a monitor that has one talk with each host.
func (c *Caller) Monitor(talk Talk) monitors.Monitor {
	return monitors.EachHost(c.settings.Limit, c.settings.Timeout.Std(), c.Probe(talk))
}

// Probe is the probe under [Caller.Monitor].
func (c *Caller) Probe(talk Talk) monitors.Probe {
	return func(ctx context.Context, host string, took *monitors.Timings) error {
		target, err := dial.ParseTarget(host, c.port)
		if err != nil {
			return monitors.Untested(err)
		}
		conn, err := c.dialer.Dial(ctx, target, took)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // The verdict stands by then.
		call := &Call{caller: c, conn: conn, name: cmp.Or(c.settings.Certificate.ServerName, target.Host()), left: c.settings.MaxBytes, stage: "connected"}
		if c.settings.TLS {
			if err := call.shake(ctx); err != nil {
				return err
			}
		}
		return talk(ctx, call)
	}
}

// Resolver has names looked up at a host:port instead of the system's name servers.
func (c *Caller) Resolver(server string) { c.dialer.NameServer = server }
