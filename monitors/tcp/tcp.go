// Package tcp is the monitor "tcp": it connects to a port, and if asked to, does
// a TLS handshake, sends a text and waits for an answer.
//
//	monitor = { type = "tcp", port = 25, expect_regexp = "^220 " }
//	monitor = { type = "tcp", port = 6379, send = "PING\r\n", expect = "+PONG", timeout = "2s" }
//	monitor = { type = "tcp", port = 993, tls = true, certificate_days = 14 }
//
// A host is up when all that was asked for happened within the timeout; down
// when it refused, broke off, was silent or said something else; unknown when it
// could not be asked, because its name could not be resolved or this machine
// has no route, no such source address or no socket left.
//
// Of a name with several addresses one that answers is enough; set ip to test
// one family. The answer may arrive in pieces and need not end: the monitor
// looks at it after each piece, and gives up after max_bytes.
//
// Defaults: timeout 10s, limit 32, ip any, verify true, max_bytes 16384.
package tcp

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 0: all do."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	Send         string `toml:"send" doc:"Text to send once connected, with TOML's escapes for line ends; default none."`
	Expect       string `toml:"expect" doc:"Text that the answer must contain; default none."`
	ExpectRegexp string `toml:"expect_regexp" doc:"Regular expression (RE2) that the answer must match, instead of expect; default none."`
	MaxBytes     int    `toml:"max_bytes" doc:"How many bytes of the answer are looked at, 1 to 1048576; default 16384."`

	TLS             bool   `toml:"tls" doc:"Whether to do a TLS handshake first; default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("tcp", config{
		Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", MaxBytes: 16 << 10, Verify: true,
	}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	caller, talk, err := parse(c)
	if err != nil {
		return nil, err
	}
	return caller.Monitor(talk), nil
}

func parse(c config) (*dialogue.Caller, dialogue.Talk, error) {
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: c.MaxBytes, TLS: c.TLS,
		Certificate: dial.TLSKeys{
			ServerName: c.ServerName, Verify: c.Verify, CAFile: c.CAFile,
			CertFile: c.CertFile, KeyFile: c.KeyFile, CertificateDays: c.CertificateDays,
		},
	})
	if err != nil {
		return nil, nil, err
	}
	match, wanted, err := parseExpect(c)
	if err != nil {
		return nil, nil, err
	}
	return caller, func(ctx context.Context, call *dialogue.Call) error {
		if c.Send != "" {
			if err := call.Send(ctx, "text", c.Send); err != nil {
				return err
			}
		}
		if match == nil {
			return nil
		}
		return call.Await(ctx, wanted, match)
	}, nil
}

// parseExpect returns what an answer must match, nil if anything will do, and its
// name for reasons.
func parseExpect(c config) (match func(answer []byte) bool, wanted string, err error) {
	switch {
	case c.Expect != "" && c.ExpectRegexp != "":
		return nil, "", monitors.BadKey("expect_regexp", "is an alternative to expect: leave one of them out")
	case c.Expect != "":
		if len(c.Expect) > c.MaxBytes {
			return nil, "", monitors.BadKey("max_bytes", "%d is less than the %d bytes of expect", c.MaxBytes, len(c.Expect))
		}
		text := []byte(c.Expect)
		return func(answer []byte) bool { return bytes.Contains(answer, text) }, strconv.Quote(c.Expect), nil
	case c.ExpectRegexp != "":
		re, err := regexp.Compile(c.ExpectRegexp)
		if err != nil {
			return nil, "", monitors.BadKey("expect_regexp", "%w (RE2 syntax)", err)
		}
		return re.Match, "match of " + strconv.Quote(c.ExpectRegexp), nil
	}
	return nil, "", nil
}
