// Package ssh is the monitor "ssh": it waits for the line with which a server names
// its protocol and program.
//
//	monitor = { type = "ssh" }
//	monitor = { type = "ssh", version = "OpenSSH_(9\\.[89]|1[0-9])" }
//
// A host is up when it named version 2 of the protocol within the timeout, in a
// line that matches version if that is given; down when it refused, broke off, was
// silent or said something else; unknown when it could not be asked, because its
// name could not be resolved or this machine has no route, no such source address
// or no socket left.
//
// Nobody logs in. OpenSSH since 9.8 counts that against an address, a second for
// each time, and shuts it out at 15 (PerSourcePenalties, noauth): test less often
// than once in a second, or exempt this machine.
//
// Defaults: port 22, timeout 10s, limit 32, ip any.
package ssh

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 22."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	Version string `toml:"version" doc:"Regular expression (RE2) that the line, like \"SSH-2.0-OpenSSH_9.9\", must match; default none."`
}

func init() {
	monitors.Register("ssh", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any"}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	version, err := regexp.Compile(c.Version)
	if err != nil {
		return nil, monitors.BadKey("version", "%w (RE2 syntax)", err)
	}
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: dialogue.Enough,
		DefaultPort: 22, Certificate: dial.TLSKeys{Verify: true},
	})
	if err != nil {
		return nil, err
	}
	return caller.Monitor(func(ctx context.Context, call *dialogue.Call) error { return talk(ctx, call, version) }), nil
}

// talk reads to the line that begins with SSH-; a server may say other things
// before (RFC 4253, 4.2). 1.99 is version 2 that speaks 1 too (5.1).
func talk(ctx context.Context, call *dialogue.Call, version *regexp.Regexp) error {
	const what = "identification"
	for {
		line, err := call.Line(ctx, what)
		switch {
		case err != nil:
			return err
		case !strings.HasPrefix(line, "SSH-"):
		case !strings.HasPrefix(line, "SSH-2.0-") && !strings.HasPrefix(line, "SSH-1.99-"):
			return call.Unexpected(what, line, "version 2.0 of the protocol")
		case !version.MatchString(line):
			return call.Unexpected(what, line, "a match of "+strconv.Quote(version.String()))
		default:
			return nil
		}
	}
}
