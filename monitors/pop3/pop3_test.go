package pop3

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
	c, ok := monitors.Defaults("pop3").(*config)
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
	dialoguetest.Conform(t, func(t testing.TB) monitors.Monitor { return mustBuild(t, nil) }, store)
}

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		return mustBuild(t, func(c *config) { c.Timeout = monitors.Duration(timeout) })
	})
	dialoguetest.Ahead(t, mustBuild(t, nil), "+OK\r\n")
}

// store is a server that is all right.
func store(t testing.TB) func(net.Conn) {
	return dialoguetest.Script(t, nil, "S: +OK POP3 ready", "C: QUIT", "S: +OK bye")
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
		{name: "all is well", steps: []string{"S: +OK ready <1@mail>", "C: QUIT", "S: +OK"}},
		{name: "hangs up", steps: []string{"S: +OK", "C: QUIT"}},
		{name: "login", steps: []string{"S: +OK", "C: USER probe", "S: +OK", "C: PASS s3cret", "S: +OK 3 messages", "C: QUIT", "S: +OK"}, change: login},
		{
			name: "login refused, with an echo", steps: []string{"S: +OK", "C: USER probe", "S: +OK", "C: PASS s3cret", "S: -ERR [AUTH] s3cret is wrong"},
			change: login, reason: `PASS sent, but the answer is "-ERR [AUTH] (secret) is wrong", wanted +OK`,
		},
		{name: "user refused", steps: []string{"S: +OK", "C: USER probe", "S: -ERR use TLS"}, change: login, reason: `USER sent, but the answer is "-ERR use TLS", wanted +OK`},
		{name: "busy", steps: []string{"S: -ERR [SYS/TEMP] too many"}, reason: `connected, but the greeting is "-ERR [SYS/TEMP] too many", wanted +OK`},
		{name: "nearly", steps: []string{"S: +OKAY"}, reason: `the greeting is "+OKAY", wanted +OK`},
		{name: "hangs at QUIT", steps: []string{"S: +OK", "C: QUIT", "HANG"}, change: soon, reason: "QUIT sent, but no answer within 300ms"},
		{name: "bad farewell", steps: []string{"S: +OK", "C: QUIT", "S: -ERR locked"}, reason: `QUIT sent, but the answer is "-ERR locked", wanted +OK`},
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
		{"STLS", []string{"S: +OK", "C: STLS", "S: +OK go", dialoguetest.TLS, "C: QUIT", "S: +OK"}, func(c *config) { c.StartTLS = true }, ""},
		{"no STLS", []string{"S: +OK", "C: STLS", "S: -ERR what?"}, func(c *config) { c.StartTLS = true }, `STLS sent, but the answer is "-ERR what?", wanted +OK`},
		{"POP3S", []string{dialoguetest.TLS, "S: +OK", "C: QUIT", "S: +OK"}, func(c *config) { c.TLS = true }, ""},
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
