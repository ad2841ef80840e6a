package ftp

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/dialogue/dialoguetest"
	"github.com/monitord/monitord/monitors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("ftp").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	if change != nil {
		change(c)
	}
	return *c
}

func mustBuild(t testing.TB, change func(*config)) monitors.Monitor {
	t.Helper()
	m, err := build(configured(t, change), monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConformance(t *testing.T) {
	dialoguetest.Conform(t, func(t testing.TB) monitors.Monitor { return mustBuild(t, nil) }, files)
}

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		return mustBuild(t, func(c *config) { c.Timeout = monitors.Duration(timeout) })
	})
	dialoguetest.Ahead(t, mustBuild(t, nil), "220 x\r\n221 y\r\n")
}

// files is a server that is all right.
func files(t testing.TB) func(net.Conn) {
	return dialoguetest.Script(t, nil, "S: 220-welcome", "S: 220 ready", "C: QUIT", "S: 221 bye")
}

func TestTalk(t *testing.T) {
	soon := func(c *config) { c.Timeout = dialoguetest.Soon }
	login := func(c *config) { c.User, c.Password = "probe", "s3cret" }
	for _, c := range []struct {
		name   string
		steps  []string
		change func(*config)
		reason string
	}{
		{name: "all is well", steps: []string{"S: 220 ready", "C: QUIT", "S: 221 bye"}},
		{name: "any lines", steps: []string{"S: 220-welcome", "S: 221 is not a code here", "S: 220-nor this", "S:  nor that", "S: 220 ready", "C: QUIT", "S: 221-bye", "S: 221 bye"}},
		{name: "in a moment", steps: []string{"S: 120 ready in 1 minute", "S: 220 ready", "C: QUIT", "S: 221 bye"}},
		{name: "in a minute", steps: []string{"S: 120 ready in 1 minute", "HANG"}, change: soon, reason: `connected, but no greeting within 300ms; received "120 ready in 1 minute\r\n"`},
		{name: "hangs up", steps: []string{"S: 220 ready", "C: QUIT"}},
		{name: "login", steps: []string{"S: 220", "C: USER probe", "S: 331 password?", "C: PASS s3cret", "S: 230 in", "C: QUIT", "S: 221 bye"}, change: login},
		{name: "no password wanted", steps: []string{"S: 220", "C: USER probe", "S: 230 in", "C: QUIT", "S: 221 bye"}, change: login},
		{
			name: "login refused, with an echo", steps: []string{"S: 220", "C: USER probe", "S: 331 password?", "C: PASS s3cret", "S: 530 not s3cret"},
			change: login, reason: `PASS sent, but the answer is "530 not (secret)", wanted 230 or 202`,
		},
		{name: "busy", steps: []string{"S: 421 too many users"}, reason: `connected, but the greeting is "421 too many users", wanted 120 or 220`},
		{name: "SSH", steps: []string{"S: SSH-2.0-x"}, reason: `the greeting is "SSH-2.0-x", wanted a code of three digits`},
		{name: "hangs at QUIT", steps: []string{"S: 220", "C: QUIT", "HANG"}, change: soon, reason: "QUIT sent, but no answer within 300ms"},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				dialoguetest.Play(t, address, c.steps, func(stretch monitors.Duration) monitors.Monitor {
					return mustBuild(t, func(conf *config) {
						if c.change != nil {
							c.change(conf)
						}
						conf.Timeout *= stretch
					})
				}, c.reason)
			})
		}
	}
}

func TestTLS(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, 30*24*time.Hour, "127.0.0.1")}}
	trusting := func(c *config) { c.CAFile = authority.File }
	for _, c := range []struct {
		name   string
		steps  []string
		change func(*config)
		reason string
	}{
		{"AUTH TLS", []string{"S: 220", "C: AUTH TLS", "S: 234 go", dialoguetest.TLS, "C: QUIT", "S: 221 bye"}, func(c *config) { c.StartTLS = true }, ""},
		{"no AUTH TLS", []string{"S: 220", "C: AUTH TLS", "S: 502 no"}, func(c *config) { c.StartTLS = true }, `AUTH sent, but the answer is "502 no", wanted 234`},
		{"FTPS", []string{dialoguetest.TLS, "S: 220", "C: QUIT", "S: 221 bye"}, func(c *config) { c.TLS = true }, ""},
		{"few days", []string{dialoguetest.TLS}, func(c *config) { c.TLS, c.CertificateDays = true, 60 }, "connected, but the certificate expires on "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustBuild(t, func(conf *config) { trusting(conf); c.change(conf) })
			dialoguetest.Verify(t, m, dialtest.Serve(t, "127.0.0.1", dialoguetest.Script(t, server, c.steps...)), c.reason)
		})
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"password", func(c *config) { c.Password = "hunter2" }, "no use without user"},
		{"password", func(c *config) { c.User, c.Password = "probe", "hunter2\nDELE 1" }, "line end"},
		{"user", func(c *config) { c.User = "probe\r\nDELE 1" }, "line end"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		dialoguetest.WantKey(t, err, c.key, c.text)
	}
	dialoguetest.BadKeys(t, func(keys dialoguetest.Keys) error {
		_, err := build(configured(t, func(c *config) {
			c.Port, c.Timeout, c.Limit, c.Source, c.IP = keys.Port, keys.Timeout, keys.Limit, keys.Source, keys.IP
			c.TLS, c.StartTLS, c.CAFile, c.Verify = keys.TLS, keys.StartTLS, keys.CAFile, !keys.Unverified
		}), monitors.Site{})
		return err
	})
}
