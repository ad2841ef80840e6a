package imap

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
	c, ok := monitors.Defaults("imap").(*config)
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
	dialoguetest.Ahead(t, mustBuild(t, nil), "* OK\r\na4 OK\r\n")
}

// store is a server that is all right.
func store(t testing.TB) func(net.Conn) {
	return dialoguetest.Script(t, nil, "S: * OK IMAP4rev1 ready", "C: a4 LOGOUT", "S: * BYE bye", "S: a4 OK done")
}

func TestTalk(t *testing.T) {
	soon := func(c *config) { c.Timeout = dialoguetest.Soon }
	login := func(c *config) { c.User, c.Password = "probe", `s3"cr\et` }
	const greeting, bye = "S: * OK [CAPABILITY IMAP4rev1] ready", "C: a4 LOGOUT"
	loggedIn := []string{greeting, `C: a2 LOGIN "probe" "s3\\"cr\\\\et"`, "S: * CAPABILITY IMAP4rev1", "S: a2 OK in"}
	for _, c := range []struct {
		name   string
		steps  []string
		change func(*config)
		reason string
	}{
		{name: "all is well", steps: []string{greeting, bye, "S: * BYE bye", "S: a4 OK done"}},
		{name: "hangs up", steps: []string{greeting, bye, "S: * BYE bye"}},
		{name: "lower case", steps: []string{"S: * ok ready", bye, "S: a4 ok done"}},
		{name: "known already", steps: []string{"S: * PREAUTH ready", bye, "S: a4 OK done"}, change: login},
		{name: "login", steps: append(loggedIn[:4:4], bye, "S: a4 OK done"), change: login},
		{
			name: "mailbox", steps: append(loggedIn[:4:4], `C: a3 EXAMINE "INBOX"`, "S: * 3 EXISTS", "S: a3 OK [READ-ONLY] done", bye, "S: a4 OK done"),
			change: func(c *config) { login(c); c.Mailbox = "INBOX" },
		},
		{
			name: "no mailbox", steps: append(loggedIn[:4:4], "C: a3 EXAMINE .*", "S: a3 NO no such mailbox"),
			change: func(c *config) { login(c); c.Mailbox = "INBOX" }, reason: `EXAMINE sent, but the answer is "NO no such mailbox", wanted OK`,
		},
		{
			name: "login refused, with an echo", steps: []string{greeting, loggedIn[1], `S: a2 NO "s3\"cr\\et" is wrong`},
			change: login, reason: `LOGIN sent, but the answer is "NO (secret) is wrong", wanted OK`,
		},
		{
			name: "login hangs", steps: []string{greeting, loggedIn[1], "HANG"}, reason: "LOGIN sent, but no answer within 300ms; nothing was received",
			change: func(c *config) { login(c); soon(c) },
		},
		{name: "thrown out", steps: []string{greeting, loggedIn[1], "S: * BYE shutting down", "HANG"}, change: login, reason: `LOGIN sent, but the answer is "* BYE shutting down", wanted OK`},
		{name: "bye", steps: []string{"S: * BYE too many connections"}, reason: `connected, but the greeting is "* BYE too many connections", wanted "* OK" or "* PREAUTH"`},
		{name: "POP3", steps: []string{"S: +OK ready"}, reason: `the greeting is "+OK ready", wanted "* OK"`},
		{name: "bad LOGOUT", steps: []string{greeting, bye, "S: a4 BAD what?"}, reason: `LOGOUT sent, but the answer is "BAD what?", wanted OK`},
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
		{"STARTTLS", []string{"S: * OK", "C: a1 STARTTLS", "S: a1 OK go", dialoguetest.TLS, "C: a4 LOGOUT", "S: a4 OK"}, func(c *config) { c.StartTLS = true }, ""},
		{"no STARTTLS", []string{"S: * OK", "C: a1 STARTTLS", "S: a1 BAD what?"}, func(c *config) { c.StartTLS = true }, `STARTTLS sent, but the answer is "BAD what?", wanted OK`},
		{"more than the answer", []string{"S: * OK", "C: a1 STARTTLS", "S: a1 OK go\r\na4 OK done", "HANG"}, func(c *config) { c.StartTLS = true }, "in the clear"},
		{"IMAPS", []string{dialoguetest.TLS, "S: * OK", "C: a4 LOGOUT", "S: a4 OK"}, func(c *config) { c.TLS = true }, ""},
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
		{"mailbox", func(c *config) { c.Mailbox = "INBOX" }, "no use without user"},
		{"mailbox", func(c *config) { c.User, c.Mailbox = "probe", "a\r\nb" }, "line end"},
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
