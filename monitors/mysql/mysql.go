// Package mysql is the monitor "mysql": it takes the handshake of a MySQL or
// MariaDB server and introduces itself as a user without a password.
//
//	monitor = { type = "mysql" }
//	monitor = { type = "mysql", user = "probe", version = "^10\\.11\\.|-MariaDB" }
//
// A host is up when it greeted with version 10 of the protocol, with a version of
// its own that matches version if that is given, and let the user in. Without user
// it is enough that it decided about one, whom it does not know: "access denied", or
// "not allowed to connect" for the address, is then the answer of a server that works. A host is down when it refused, broke off,
// was silent or said something else, above all an error, which is passed on: "Too
// many connections", "Host ... is blocked". It is unknown when it could not be
// asked, because its name could not be resolved or this machine has no route, no
// such source address or no socket left.
//
// The monitor does not leave after the greeting because servers count that as an
// interrupted handshake, and block the address after max_connect_errors of them (100
// by default). To keep denials out of the server's log, give it a user:
//
//	CREATE USER 'probe'@'10.0.0.1';
//
// Defaults: port 3306, timeout 10s, limit 32, ip any.
package mysql

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 3306."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	User    string `toml:"user" doc:"User without a password who must be let in; default is \"monitord\", who need not be."`
	Version string `toml:"version" doc:"Regular expression (RE2) that the server's version, like \"8.4.3\", must match; default none."`
}

func init() {
	monitors.Register("mysql", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any"}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	if err := dialogue.CheckLogin(c.User, ""); err != nil {
		return nil, err
	}
	version, err := regexp.Compile(c.Version)
	if err != nil {
		return nil, monitors.BadKey("version", "%w (RE2 syntax)", err)
	}
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: dialogue.Enough,
		DefaultPort: 3306, Certificate: dial.TLSKeys{Verify: true},
	})
	if err != nil {
		return nil, err
	}
	p := &probe{user: c.User, version: version}
	return caller.Monitor(p.talk), nil
}

// probe is the configuration, parsed.
type probe struct {
	user    string // empty for one who need not be let in
	version *regexp.Regexp
}

func (p *probe) talk(ctx context.Context, call *dialogue.Call) error {
	packet, err := receive(ctx, call, "greeting", 0)
	if err != nil {
		return err
	}
	if e, ok := parseError(packet); ok {
		if p.user == "" && e.denial() {
			return nil
		}
		return call.Unexpected("greeting", e.String(), "a handshake")
	}
	g, ok := parseGreeting(packet)
	switch {
	case !ok:
		return call.Unexpected("greeting", string(packet), "a handshake of protocol version 10")
	case !p.version.MatchString(g.version):
		return call.Unexpected("version", g.version, "a match of "+strconv.Quote(p.version.String()))
	}
	return p.login(ctx, call, g)
}

// login answers the handshake and sees what becomes of it.
func (p *probe) login(ctx context.Context, call *dialogue.Call, g greeting) error {
	user := p.user
	if user == "" {
		user = "monitord"
	}
	if err := call.Send(ctx, "user", frame(1, g.respond(user))); err != nil {
		return err
	}
	answer, err := receive(ctx, call, "answer", 2)
	if err == nil && answer[0] == authSwitch {
		// Another way of proving who one is, which comes to the same thing without
		// a password.
		if err := call.Send(ctx, "user", frame(3, noPassword(answer))); err != nil {
			return err
		}
		answer, err = receive(ctx, call, "answer", 4)
	}
	if err != nil {
		return err
	}
	return p.judge(ctx, call, answer)
}

func (p *probe) judge(ctx context.Context, call *dialogue.Call, answer []byte) error {
	if answer[0] == okPacket {
		// The server closes without an answer, so there is nothing to wait for, and
		// nothing that could go wrong with its service any more.
		_ = call.Send(ctx, "quit", frame(0, []byte{comQuit}))
		return nil
	}
	e, ok := parseError(answer)
	switch {
	case !ok:
		return call.Unexpected("answer", string(answer), "OK, or an error")
	case p.user == "" && e.denial():
		return nil
	}
	return call.Unexpected("answer", e.String(), "OK")
}

// receive reads a packet with the sequence number that is due; it is not empty.
func receive(ctx context.Context, call *dialogue.Call, what string, number byte) ([]byte, error) {
	header, err := call.Bytes(ctx, what, 4)
	if err != nil {
		return nil, err
	}
	length := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if length == 0 || length > maxPacket || header[3] != number {
		return nil, fmt.Errorf("%w: it is no packet of MySQL", call.Unexpected(what, string(header), "a packet number "+strconv.Itoa(int(number))))
	}
	return call.Bytes(ctx, what, length)
}

// maxPacket is more than any packet of a handshake has; 3 bytes of text that are
// taken for a length are more than that.
const maxPacket = 16 << 10

// frame puts a packet's header before it.
func frame(number byte, packet []byte) string {
	n := len(packet)
	var b strings.Builder
	b.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), number})
	b.Write(packet)
	return b.String()
}
