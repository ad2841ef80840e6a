// Package redis is the monitor "redis": it sends a PING, after AUTH if there is a
// password, and can ask for the server's role.
//
//	monitor = { type = "redis" }
//	monitor = { type = "redis", role = "master" }
//	monitor = { type = "redis", tls = true, ca_file = "/etc/monitord/ca.pem", password_file = "/etc/monitord/redis" }
//
// A host is up when it answered PONG within the timeout, and has the role if one is
// wanted. It is down when it refused, broke off, was silent or answered otherwise:
// LOADING (it reads its data), MASTERDOWN, BUSY, MISCONF, or WRONGPASS to AUTH. It
// is unknown when it could not be asked, because its name could not be resolved or
// this machine has no route, no such source address or no socket left. A server that
// wants a password and was given none (NOAUTH) is unknown too: behind that answer it
// may as well be loading.
//
// Without tls the password goes over the network in the clear: "monitord check" warns of
// it.
//
// It serves for Valkey and whatever else speaks the protocol.
//
// Defaults: port 6379, timeout 10s, limit 32, ip any, verify true.
package redis

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dialogue"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 6379."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	User     string          `toml:"user" doc:"User for AUTH (Redis 6); default is the server's default user."`
	Password monitors.Secret `toml:"password" doc:"Password for AUTH; default none, AUTH is not sent then."`
	Role     string          `toml:"role" doc:"Role that the server must have: \"master\" or \"slave\"; default any."`

	TLS             bool   `toml:"tls" doc:"Whether to do a TLS handshake first (on the same port); default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("redis", config{Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any", Verify: true}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	caller, err := dialogue.New(dialogue.Settings{
		Port: c.Port, Timeout: c.Timeout, Limit: c.Limit, Source: c.Source, IP: c.IP, MaxBytes: dialogue.Enough,
		TLS: c.TLS, DefaultPort: 6379,
		Certificate: dial.TLSKeys{
			ServerName: c.ServerName, Verify: c.Verify, CAFile: c.CAFile,
			CertFile: c.CertFile, KeyFile: c.KeyFile, CertificateDays: c.CertificateDays,
		},
	})
	if err != nil {
		return nil, err
	}
	return caller.Monitor(c.talk), nil
}

// Warnings implements [monitors.Warner].
func (c config) Warnings() []error {
	return dialogue.InTheClear(c.Password, c.TLS, "write tls = true")
}

func (c config) check() error {
	switch {
	case c.User != "" && c.Password == "":
		return monitors.BadKey("user", "has no use without password")
	case c.Role != "" && c.Role != "master" && c.Role != "slave":
		return monitors.BadKey("role", `%q is no role: write "master" or "slave"`, c.Role)
	}
	return nil
}

func (c config) talk(ctx context.Context, call *dialogue.Call) error {
	call.Hide = []string{c.Password.Reveal()}
	if c.Password != "" {
		login := []string{"AUTH", c.Password.Reveal()}
		if c.User != "" {
			login = []string{"AUTH", c.User, c.Password.Reveal()}
		}
		if err := ask(ctx, call, "+OK", login...); err != nil {
			return err
		}
	}
	if err := ask(ctx, call, "+PONG", "PING"); err != nil {
		return err
	}
	if c.Role == "" {
		return nil
	}
	return c.askRole(ctx, call)
}

// ask sends a command and expects a line.
func ask(ctx context.Context, call *dialogue.Call, wanted string, words ...string) error {
	if err := call.Send(ctx, words[0], command(words)); err != nil {
		return err
	}
	line, err := call.Line(ctx, "answer")
	switch {
	case err != nil || line == wanted:
		return err
	case strings.HasPrefix(line, "-NOAUTH"):
		return monitors.Untested(fmt.Errorf("%w: give its password", call.Unexpected("answer", line, wanted)))
	}
	return call.Unexpected("answer", line, wanted)
}

// askRole takes the first word of the answer, which is an array.
func (c config) askRole(ctx context.Context, call *dialogue.Call) error {
	if err := call.Send(ctx, "ROLE", command([]string{"ROLE"})); err != nil {
		return err
	}
	array, err := call.Line(ctx, "answer")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(array, "*") {
		return call.Unexpected("answer", array, "a role")
	}
	if _, err := call.Line(ctx, "role"); err != nil { // its length
		return err
	}
	role, err := call.Line(ctx, "role")
	if err != nil || role == c.Role {
		return err
	}
	return call.Unexpected("role", role, c.Role)
}

// command writes an array of strings, which may hold any byte (RESP).
func command(words []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}
