package smtp

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
	c, ok := monitors.Defaults("smtp").(*config)
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

// mail is a server that is all right.
func mail(t testing.TB) func(net.Conn) {
	return dialoguetest.Script(t, nil, "S: 220 mail.example.org ESMTP", "C: EHLO .*", "S: 250-mail.example.org", "S: 250 SIZE 10240000", "C: QUIT", "S: 221 bye")
}

func TestConformance(t *testing.T) {
	dialoguetest.Conform(t, func(t testing.TB) monitors.Monitor { return mustBuild(t, nil) }, mail)
}

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		return mustBuild(t, func(c *config) { c.Timeout = monitors.Duration(timeout) })
	})
	dialoguetest.Ahead(t, mustBuild(t, nil), "220 x\r\n")
}

func TestTalk(t *testing.T) {
	greeting, hello := "S: 220 mail ESMTP", `C: EHLO \[127\.0\.0\.1\]`
	soon := func(c *config) { c.Timeout = dialoguetest.Soon }
	for _, c := range []struct {
		name   string
		steps  []string
		change func(*config)
		reason string
	}{
		{name: "all is well", steps: []string{greeting, hello, "S: 250 mail", "C: QUIT", "S: 221 bye"}},
		{name: "long greeting", steps: []string{"S: 220-mail", "S: 220-no spam", "S: 220", hello, "S: 250-mail", "S: 250-SIZE", "S: 250 HELP", "C: QUIT", "S: 221 bye"}},
		{name: "hangs up at QUIT", steps: []string{greeting, hello, "S: 250 mail", "C: QUIT"}},
		{name: "old", steps: []string{greeting, hello, "S: 500 what?", `C: HELO \[127\.0\.0\.1\]`, "S: 250 mail", "C: QUIT", "S: 221 bye"}},
		{name: "named", steps: []string{greeting, "C: EHLO probe.example.org", "S: 250 mail", "C: QUIT", "S: 221 bye"}, change: func(c *config) { c.HeloName = "probe.example.org" }},
		{
			name: "sender", steps: []string{greeting, hello, "S: 250 mail", "C: MAIL FROM:<probe@example.org>", "S: 250 ok", "C: QUIT", "S: 221 bye"},
			change: func(c *config) { c.From = "probe@example.org" },
		},
		{name: "no sender", steps: []string{greeting, hello, "S: 250 mail", "C: MAIL FROM:<>", "S: 250 ok", "C: QUIT", "S: 221 bye"}, change: func(c *config) { c.From = "<>" }},
		{
			name: "full", steps: []string{greeting, hello, "S: 250 mail", "C: MAIL FROM:<a@b>", "S: 452 4.3.1 insufficient system storage"},
			change: func(c *config) { c.From = "<a@b>" }, reason: `MAIL sent, but the answer is "452 4.3.1 insufficient system storage", wanted 250`,
		},
		{name: "busy", steps: []string{"S: 421 too many connections"}, reason: `connected, but the greeting is "421 too many connections", wanted 220`},
		{name: "busy, at length", steps: []string{"S: 554-go", "S: 554 away"}, reason: `connected, but the greeting is "554-go", wanted 220`},
		{name: "rejects EHLO for now", steps: []string{greeting, hello, "S: 421 shutting down"}, reason: `EHLO sent, but the answer is "421 shutting down", wanted 250`},
		{name: "takes no mail", steps: []string{greeting, hello, "S: 521 no mail here"}, reason: `EHLO sent, but the answer is "521 no mail here", wanted 250`},
		{name: "rejects both", steps: []string{greeting, hello, "S: 502 no", "C: HELO .*", "S: 501 no"}, reason: `HELO sent, but the answer is "501 no", wanted 250`},
		{name: "hangs at EHLO", steps: []string{greeting, hello, "HANG"}, change: soon, reason: "EHLO sent, but no answer within 300ms; nothing was received"},
		{name: "ends in a reply", steps: []string{greeting, hello, "S: 250-mail"}, reason: `EHLO sent, but no end of the answer: the connection was closed; received "250-mail\r\n"`},
		{name: "hangs at QUIT", steps: []string{greeting, hello, "S: 250 mail", "C: QUIT", "HANG"}, change: soon, reason: "QUIT sent, but no answer within 300ms"},
		{name: "bad farewell", steps: []string{greeting, hello, "S: 250 mail", "C: QUIT", "S: 451 error"}, reason: `QUIT sent, but the answer is "451 error", wanted 221`},
		{name: "IMAP", steps: []string{"S: * OK IMAP4rev1"}, reason: `the greeting is "* OK IMAP4rev1", wanted a code of three digits`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialoguetest.Play(t, "127.0.0.1", c.steps, func(stretch monitors.Duration) monitors.Monitor {
				return mustBuild(t, func(conf *config) {
					if c.change != nil {
						c.change(conf)
					}
					conf.Timeout *= stretch
				})
			}, c.reason)
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		steps := []string{greeting, `C: EHLO \[IPv6:::1\]`, "S: 250 mail", "C: QUIT", "S: 221 bye"}
		dialoguetest.Verify(t, mustBuild(t, nil), dialtest.Serve(t, "::1", dialoguetest.Script(t, nil, steps...)), "")
	})
}

func TestTLS(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	day := 24 * time.Hour
	server := &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, 30*day, "127.0.0.1")}}
	before := []string{"S: 220 mail", "C: EHLO .*", "S: 250-mail", "S: 250 STARTTLS", "C: STARTTLS"}
	inside := []string{"S: 220 ready", dialoguetest.TLS, "C: EHLO .*", "S: 250 mail", "C: QUIT", "S: 221 bye"}
	start := func(c *config) { c.StartTLS, c.CAFile = true, authority.File }
	for _, c := range []struct {
		name   string
		steps  []string
		change func(*config)
		reason string
	}{
		{"STARTTLS", append(before[:5:5], inside...), start, ""},
		{"STARTTLS is not offered", append(before[:5:5], "S: 502 no such command"), start, `STARTTLS sent, but the answer is "502 no such command", wanted 220`},
		{"unknown issuer", append(before[:5:5], inside[:2]...), func(c *config) { c.StartTLS = true }, "STARTTLS sent, but the TLS handshake failed: tls: failed to verify certificate"},
		{"not verified", append(before[:5:5], inside...), func(c *config) { c.StartTLS, c.Verify = true, false }, ""},
		{"few days", append(before[:5:5], inside[:2]...), func(c *config) { start(c); c.CertificateDays = 60 }, "STARTTLS sent, but the certificate expires on "},
		{"more than the answer", append(before[:5:5], "S: 220 ready\r\n250 believe me", "HANG"), start, "more came than the answer, in the clear"},
		{"no EHLO afterwards", append(before[:5:5], "S: 220 ready", dialoguetest.TLS, "C: EHLO .*", "S: 500 no"), start, `EHLO sent, but the answer is "500 no", wanted 250`},
		{"SMTPS", []string{dialoguetest.TLS, "S: 220 mail", "C: EHLO .*", "S: 250 mail", "C: QUIT", "S: 221 bye"}, func(c *config) { c.TLS, c.CAFile = true, authority.File }, ""},
		{"SMTPS to a plain port", []string{"S: 220 mail", "HANG"}, func(c *config) { c.TLS, c.CAFile = true, authority.File }, "connected, but the TLS handshake failed: tls: first record does not look like"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dialoguetest.Verify(t, mustBuild(t, c.change), dialtest.Serve(t, "127.0.0.1", dialoguetest.Script(t, server, c.steps...)), c.reason)
		})
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"helo_name", func(c *config) { c.HeloName = "a b" }, "no name of a machine"},
		{"helo_name", func(c *config) { c.HeloName = "a\r\nDATA" }, "no name of a machine"},
		{"from", func(c *config) { c.From = "probe" }, "no mail address"},
		{"from", func(c *config) { c.From = "a@b>\r\nDATA" }, "no mail address"},
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
