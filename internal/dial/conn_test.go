package dial_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/monitors"
)

// phases are those that were got through, as letters.
func phases(t monitors.Timings) string {
	text := ""
	for _, p := range []struct {
		letter string
		took   time.Duration
	}{{"r", t.Resolve}, {"c", t.Connect}, {"t", t.TLS}, {"f", t.FirstByte}} {
		if p.took > 0 {
			text += p.letter
		}
	}
	return text
}

func TestTimings(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, day, "www.example.org")}}
	client, err := dial.NewTLS(dial.TLSKeys{Verify: true, CAFile: authority.File})
	if err != nil {
		t.Fatal(err)
	}
	read := func(conn *dial.Conn) { _, _ = conn.Read(make([]byte, 3)) }
	shake := func(conn *dial.Conn) *dial.Conn {
		secure, err := client.Handshake(t.Context(), conn, "www.example.org")
		if err != nil {
			return conn
		}
		return secure
	}
	starttls := func(c net.Conn) {
		_, _ = io.WriteString(c, "220")
		dialtest.Secure(config, dialtest.Say("250"))(c)
	}
	for _, c := range []struct {
		name     string
		handle   func(net.Conn) // nil: refuses
		byName   bool
		converse func(*dial.Conn)
		want     string
	}{
		{name: "refused"},
		{name: "refused, by name", byName: true, want: "r"},
		{name: "connected", handle: dialtest.Hang, want: "c"},
		{name: "connected, by name", handle: dialtest.Hang, byName: true, want: "rc"},
		{name: "a banner", handle: dialtest.Say("220"), converse: read, want: "cf"},
		{name: "closed without a word", handle: dialtest.Say(""), converse: read, want: "c"},
		{name: "TLS that says nothing", handle: dialtest.Secure(config, dialtest.Hang), converse: func(c *dial.Conn) { shake(c) }, want: "ct"},
		{name: "TLS", handle: dialtest.Secure(config, dialtest.Say("220")), converse: func(c *dial.Conn) { read(shake(c)) }, want: "ctf"},
		{name: "no TLS", handle: dialtest.Say("220"), converse: func(c *dial.Conn) { shake(c) }, want: "c"},
		{name: "STARTTLS", handle: starttls, converse: func(c *dial.Conn) { read(c); read(shake(c)) }, want: "ctf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			entry := dialtest.Refused(t, "127.0.0.1")
			if c.handle != nil {
				entry = dialtest.Serve(t, "127.0.0.1", c.handle)
			}
			d := newDialer(t, "", "")
			if c.byName {
				d.NameServer = dialtest.NameServer(t, dialtest.Addresses, "127.0.0.1")
				_, port, _ := net.SplitHostPort(entry)
				entry = "web.example.:" + port
			}
			var took monitors.Timings
			start := time.Now()
			conn, err := d.Dial(t.Context(), target(t, entry), &took)
			if err == nil {
				defer conn.Close()
				if c.converse != nil {
					c.converse(conn)
				}
			}
			if got := phases(took); got != c.want {
				t.Errorf("got the phases %q (%s), want %q", got, took, c.want)
			}
			if all := time.Since(start); took.Sum() > all {
				t.Errorf("the phases %s are longer than all of it, %s", took, all)
			}
		})
	}
}

// TestFirstByteIsOne: what comes later, and over a second connection, counts as it
// should: not again, and added.
func TestFirstByteIsOne(t *testing.T) {
	entry := dialtest.Serve(t, "127.0.0.1", dialtest.Say("220 mail"))
	var took monitors.Timings
	before := took
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		conn, err := newDialer(t, "", "").Dial(ctx, target(t, entry), &took)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Read(make([]byte, 3))
		first := took.FirstByte
		_, _ = io.ReadAll(conn)
		if took.FirstByte != first {
			t.Errorf("the first byte took %s, and after reading on %s", first, took.FirstByte)
		}
		if took.FirstByte <= before.FirstByte || took.Connect <= before.Connect {
			t.Errorf("the phases of a second connection are not added: %s, then %s", before, took)
		}
		before = took
		conn.Close()
		cancel()
	}
}
