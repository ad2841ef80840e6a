// Package udp is the monitor "udp": it sends a datagram to a port and waits for an
// answer, or for word that nobody is there.
//
//	monitor = { type = "udp", port = 27015, send_hex = "ff ff ff ff 54", expect_hex = "ff ff ff ff" }
//	monitor = { type = "udp", port = 11211, send_hex = "0000 0000 0001 0000", send = "version\r\n", expect = "VERSION" }
//	monitor = { type = "udp", port = 514, timeout = "2s" }
//
// With something to expect a host is up when a datagram with it came within the
// timeout, and down when none did; expect_regexp = "" is nothing to expect, while
// ".*" is any answer at all. Datagrams without it are passed over: they may be late
// answers to an earlier test.
//
// With nothing to expect silence is up: a host that has not refused within half of
// the timeout. That is weak. It finds a service that is not started, whose host
// answers with an ICMP message that the port is unreachable, and on a network of
// one's own a host that is off. It finds no firewall that drops, and no service
// that hangs. Any answer makes such a host up at once.
//
// A host is unknown when it could not be asked: its name could not be resolved, or
// this machine has no route, no such source address or no socket left.
//
// Datagrams get lost, so each is sent up to four times, in even intervals, and
// answers count from the port alone that was asked. Of a name with several
// addresses one that is up is enough, and each has its share of the time; set ip to
// test one family.
//
// Defaults: timeout 10s, limit 32, ip any.
package udp

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"UDP port, 1 to 65535, of hosts that name none of their own; no default."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to send from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	Send         string `toml:"send" doc:"Text to send, with TOML's escapes; default none, which without send_hex is an empty datagram."`
	SendHex      string `toml:"send_hex" doc:"Bytes to send, in hexadecimal digits with blanks anywhere, before the text of send; default none."`
	Expect       string `toml:"expect" doc:"Text that an answer must contain; default none: silence is up, if the port is not unreachable."`
	ExpectHex    string `toml:"expect_hex" doc:"Bytes that an answer must contain, in hexadecimal digits, instead of expect; default none."`
	ExpectRegexp string `toml:"expect_regexp" doc:"Regular expression (RE2) that an answer must match, instead of expect, as \".*\" for any answer; default none."`
}

// largest is what fits into one datagram over IPv4.
const largest = 65507

func init() {
	monitors.Register("udp", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any"}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	p, err := newProbe(c)
	if err != nil {
		return nil, err
	}
	return monitors.EachHost(c.Limit, c.Timeout.Std(), p.test), nil
}

// probe is the configuration, parsed.
type probe struct {
	config
	dialer *dial.Dialer
	packet []byte
	match  func(answer []byte) bool // nil if nothing is expected
	wanted string                   // what match looks for, for reasons
}

func newProbe(c config) (*probe, error) {
	if err := checkNumbers(c); err != nil {
		return nil, err
	}
	dialer, err := dial.New(c.Source, c.IP)
	if err != nil {
		return nil, err
	}
	p := &probe{config: c, dialer: dialer}
	if p.packet, err = parseHex("send_hex", c.SendHex); err != nil {
		return nil, err
	}
	if p.packet = append(p.packet, c.Send...); len(p.packet) > largest {
		key := "send"
		if c.Send == "" {
			key = "send_hex"
		}
		return nil, monitors.BadKey(key, "%d bytes are too many: a datagram has room for %d", len(p.packet), largest)
	}
	return p, p.parseExpect()
}

func checkNumbers(c config) error {
	switch {
	case c.Port < 0 || c.Port > 65535:
		return monitors.BadKey("port", "%d is no UDP port: write a number from 1 to 65535", c.Port)
	case c.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"10s\"", c.Timeout)
	case c.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", c.Limit)
	}
	return nil
}

func parseHex(key, text string) ([]byte, error) {
	digits := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	raw, err := hex.DecodeString(digits)
	if err != nil {
		return nil, monitors.BadKey(key, `%q is not hexadecimal: write two digits for each byte, like "0a ff"`, text)
	}
	return raw, nil
}

func (p *probe) parseExpect() error {
	alternatives := []struct{ key, value string }{
		{"expect", p.Expect}, {"expect_hex", p.ExpectHex}, {"expect_regexp", p.ExpectRegexp},
	}
	chosen := ""
	for _, a := range alternatives {
		switch {
		case a.value == "":
		case chosen != "":
			return monitors.BadKey(a.key, "is an alternative to %s: leave one of them out", chosen)
		default:
			chosen, p.wanted = a.key, fmt.Sprintf("%q", a.value)
		}
	}
	switch chosen {
	case "expect":
		text := []byte(p.Expect)
		p.match = func(answer []byte) bool { return bytes.Contains(answer, text) }
	case "expect_hex":
		raw, err := parseHex("expect_hex", p.ExpectHex)
		if err != nil {
			return err
		}
		p.match = func(answer []byte) bool { return bytes.Contains(answer, raw) }
		p.wanted = fmt.Sprintf("bytes %x", raw)
	case "expect_regexp":
		re, err := regexp.Compile(p.ExpectRegexp)
		if err != nil {
			return monitors.BadKey("expect_regexp", "%w (RE2 syntax)", err)
		}
		p.match = re.Match
		p.wanted = "match of " + p.wanted
	}
	return nil
}

// test asks one host.
func (p *probe) test(ctx context.Context, host string, took *monitors.Timings) error {
	target, err := dial.ParseTarget(host, p.Port)
	if err != nil {
		return monitors.Untested(err)
	}
	return p.dialer.Each(ctx, target, took, func(to netip.AddrPort, left int) error {
		conn, err := p.dialer.Datagrams(to, took)
		if err != nil {
			return err
		}
		defer conn.Close()
		if p.match == nil {
			return p.knock(ctx, conn)
		}
		return p.ask(ctx, conn, to, left)
	})
}

// sendings is how often the datagram is sent.
const sendings = 4

// ask waits for the expected answer.
func (p *probe) ask(run context.Context, conn *dial.Datagrams, to netip.AddrPort, left int) error {
	ctx, cancel := dial.Share(run, left)
	defer cancel()
	said := "nothing was received"
	err := conn.Exchange(ctx, p.packet, interval(ctx, p.Timeout.Std()), func(answer []byte) bool {
		said = "received " + dial.Excerpt(answer, 120)
		return p.match(answer)
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: no %s within the timeout; %s", to, p.wanted, said)
	}
	return fmt.Errorf("%w; %s", err, said)
}

func interval(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline))
	}
	return most / sendings
}

// knock waits whether the host refuses. A verdict takes the whole time of listening:
// what was cut short, by a slow name server or the end of the run, is none.
func (p *probe) knock(run context.Context, conn *dial.Datagrams) error {
	half := p.Timeout.Std() / 2
	ctx, cancel := context.WithTimeout(run, half)
	defer cancel()
	begin := time.Now()
	err := conn.Exchange(ctx, p.packet, half/sendings, func([]byte) bool { return true })
	switch {
	case ctx.Err() == nil || err == nil:
		return err
	case time.Since(begin) >= half && run.Err() == nil:
		return nil
	}
	return monitors.Untested(fmt.Errorf("no refusal, but there was less than %s left to listen", half))
}
