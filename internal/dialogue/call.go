package dialogue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/monitord/monitord/internal/dial"
)

// A Call is one connection and what was said on it. The reasons in its errors
// begin with how far it came: "connected", "EHLO sent".
type Call struct {
	// Filter, if set, parts what comes into the text that counts and what to reply
	// at once.
	Filter func(raw []byte) (text, reply []byte)
	// Hide lists secrets that a host may repeat and no reason must show.
	Hide []string

	caller *Caller
	conn   *dial.Conn
	name   string // what the certificate must be for
	left   int    // how many bytes may still come
	stage  string
	heard  []byte // the text since something was last sent
	used   int    // how much of heard was returned
}

// Local is this side's address.
func (c *Call) Local() net.Addr { return c.conn.LocalAddr() }

// errTooLong ends a host that says more than anybody has use for.
var errTooLong = errors.New("too long")

// Send sends text. what names it: the reasons of what fails next begin with "what
// sent".
func (c *Call) Send(ctx context.Context, what, text string) error {
	c.heard, c.used = c.heard[c.used:], 0
	if _, err := io.WriteString(c.conn, text); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s, but the %s could not be sent within %s", c.stage, what, c.caller.settings.Timeout)
		}
		return fmt.Errorf("%s, but sending the %s failed: %w", c.stage, what, dial.Broken(err))
	}
	c.stage = what + " sent"
	return nil
}

// Await reads until match accepts the text since the last Send. It looks at the
// text after each piece that comes, so an answer may come in any.
func (c *Call) Await(ctx context.Context, what string, match func(text []byte) bool) error {
	for len(c.heard) == 0 || !match(c.heard) {
		if err := c.read(); err != nil {
			return c.missing(ctx, what, err)
		}
	}
	c.used = len(c.heard)
	return nil
}

// Line returns the next line without its end, which is LF or CR LF.
func (c *Call) Line(ctx context.Context, what string) (string, error) {
	for from := c.used; ; {
		if i := bytes.IndexByte(c.heard[from:], '\n'); i >= 0 {
			line := c.heard[c.used : from+i]
			c.used = from + i + 1
			return string(bytes.TrimSuffix(line, []byte("\r"))), nil
		}
		from = len(c.heard)
		if err := c.read(); err != nil {
			return "", c.missing(ctx, what, err)
		}
	}
}

// Bytes returns the next n bytes.
func (c *Call) Bytes(ctx context.Context, what string, n int) ([]byte, error) {
	for len(c.heard)-c.used < n {
		if err := c.read(); err != nil {
			return nil, c.missing(ctx, what, err)
		}
	}
	c.used += n
	return c.heard[c.used-n : c.used : c.used], nil
}

// read takes one piece from the host; it may be without text. An error that comes
// with a piece comes again with the next.
func (c *Call) read() error {
	if c.left <= 0 {
		return errTooLong
	}
	var piece [4096]byte
	n, err := c.conn.Read(piece[:min(len(piece), c.left)])
	c.left -= n
	if n == 0 {
		return err
	}
	text, reply := piece[:n], []byte(nil)
	if c.Filter != nil {
		text, reply = c.Filter(text)
	}
	c.heard = append(c.heard, text...)
	if len(reply) > 0 {
		_, err := c.conn.Write(reply)
		return err
	}
	return nil
}

// Secure changes to TLS in the middle of the call, as STARTTLS asks for.
func (c *Call) Secure(ctx context.Context) error {
	if len(c.heard) > c.used {
		// Whoever sits between could have put it there, to be believed as if it had
		// come over TLS (RFC 3207, 5: CVE-2011-0411 and its kind).
		return fmt.Errorf("%s, but more came than the answer, in the clear, before the TLS handshake; %s", c.stage, c.Said())
	}
	if err := c.shake(ctx); err != nil {
		return err
	}
	c.heard, c.used, c.stage = nil, 0, "changed to TLS"
	return nil
}

func (c *Call) shake(ctx context.Context) error {
	secure, err := c.caller.tls.Handshake(ctx, c.conn, c.name)
	switch {
	case err == nil:
		c.conn = secure
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s, but the TLS handshake was not finished within %s", c.stage, c.caller.settings.Timeout)
	}
	return fmt.Errorf("%s, but %w", c.stage, err)
}

// missing words why something did not come. That ctx ended with the run and not
// with the host's time is EachHost's to see.
func (c *Call) missing(ctx context.Context, what string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s, but no %s within %s; %s", c.stage, what, c.caller.settings.Timeout, c.Said())
	case errors.Is(err, errTooLong):
		return fmt.Errorf("%s, but no %s in the first %d bytes; %s", c.stage, what, c.caller.settings.MaxBytes, c.Said())
	}
	return fmt.Errorf("%s, but no %s: %w; %s", c.stage, what, dial.Broken(err), c.Said())
}

// Unexpected is the error for something that came and is not what was wanted.
func (c *Call) Unexpected(what, got, wanted string) error {
	return fmt.Errorf("%s, but the %s is %q, wanted %s", c.stage, what, dial.Clean(c.redact(got), 120), wanted)
}

// Said quotes the end of what came since something was last sent.
func (c *Call) Said() string {
	if len(c.heard) == 0 {
		return "nothing was received"
	}
	return "received " + dial.Excerpt([]byte(c.redact(string(c.heard))), 120)
}

func (c *Call) redact(text string) string {
	for _, secret := range c.Hide {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(secret)")
		}
	}
	return text
}

// Parted is nil for an error that means no more than that the host hung up: at the
// end of a call that is as good as its farewell.
func Parted(err error) error {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return nil
		}
	}
	return err
}
