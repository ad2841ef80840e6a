package redis

import (
	"crypto/tls"
	"net"
	"slices"
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
	c, ok := monitors.Defaults("redis").(*config)
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
	dialoguetest.Conform(t, func(t testing.TB) monitors.Monitor { return mustBuild(t, nil) }, cache)
}

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		return mustBuild(t, func(c *config) { c.Timeout = monitors.Duration(timeout) })
	})
	dialoguetest.Ahead(t, mustBuild(t, nil), "+PONG\r\n")
}

// ping is the command as a script takes it.
func ping() []string { return []string{`C: \*1`, `C: \$4`, "C: PING"} }

// cache is a server that is all right.
func cache(t testing.TB) func(net.Conn) {
	return dialoguetest.Script(t, nil, append(ping(), "S: +PONG", "HANG")...)
}

func TestTalk(t *testing.T) {
	soon := func(c *config) { c.Timeout = dialoguetest.Soon }
	password := func(c *config) { c.Password = "s3cret" }
	auth := []string{`C: \*2`, `C: \$4`, "C: AUTH", `C: \$6`, "C: s3cret"}
	authUser := []string{`C: \*3`, `C: \$4`, "C: AUTH", `C: \$5`, "C: probe", `C: \$6`, "C: s3cret"}
	role := []string{"S: +PONG", `C: \*1`, `C: \$4`, "C: ROLE"}
	join := func(parts ...[]string) []string { return slices.Concat(parts...) }
	master := func(c *config) { c.Role = "master" }
	for _, c := range []struct {
		name   string
		steps  []string
		change func(*config)
		reason string
	}{
		{name: "all is well", steps: append(ping(), "S: +PONG")},
		{name: "password", steps: join(auth, []string{"S: +OK"}, ping(), []string{"S: +PONG"}), change: password},
		{name: "user", steps: join(authUser, []string{"S: +OK"}, ping(), []string{"S: +PONG"}), change: func(c *config) { password(c); c.User = "probe" }},
		{
			name: "wrong password, with an echo", steps: append(auth[:5:5], "S: -WRONGPASS s3cret is wrong"), change: password,
			reason: `AUTH sent, but the answer is "-WRONGPASS (secret) is wrong", wanted +OK`,
		},
		{name: "loading", steps: append(ping(), "S: -LOADING Redis is loading the dataset in memory"), reason: `PING sent, but the answer is "-LOADING Redis is loading the dataset in memory", wanted +PONG`},
		{name: "master is down", steps: append(ping(), "S: -MASTERDOWN Link with MASTER is down"), reason: `PING sent, but the answer is "-MASTERDOWN`},
		{name: "silent", steps: append(ping(), "HANG"), change: soon, reason: "PING sent, but no answer within 300ms; nothing was received"},
		{name: "protected", steps: []string{"S: -DENIED Redis is running in protected mode"}, reason: "-DENIED Redis is running in protected mode"},
		{name: "master", steps: join(ping(), role, []string{"S: *3", "S: $6", "S: master", "S: :0", "S: *0"}), change: master},
		{name: "slave", steps: join(ping(), role, []string{"S: *5", "S: $5", "S: slave"}), change: master, reason: `ROLE sent, but the role is "slave", wanted master`},
		{name: "no role", steps: join(ping(), role, []string{"S: -NOPERM"}), change: master, reason: `ROLE sent, but the answer is "-NOPERM", wanted a role`},
		{name: "HTTP", steps: []string{"S: HTTP/1.1 400 Bad Request"}, reason: `the answer is "HTTP/1.1 400 Bad Request", wanted +PONG`},
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

// TestWantsAPassword: what is behind that nobody knows.
func TestWantsAPassword(t *testing.T) {
	host := dialtest.Serve(t, "127.0.0.1", dialoguetest.Script(t, nil, append(ping(), "S: -NOAUTH Authentication required.")...))
	dialoguetest.VerifyAs(t, mustBuild(t, nil), host, monitors.Unknown, `the answer is "-NOAUTH Authentication required.", wanted +PONG: give its password`)
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
		{"rediss", append([]string{dialoguetest.TLS}, append(ping(), "S: +PONG")...), func(c *config) { c.TLS = true }, ""},
		{"plain", []string{"S: -ERR what?", "HANG"}, func(c *config) { c.TLS = true }, "connected, but the TLS handshake failed: tls: first record"},
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
		{"user", func(c *config) { c.User = "probe" }, "no use without password"},
		{"role", func(c *config) { c.Role = "leader" }, "no role"},
		{"ca_file", func(c *config) { c.TLS, c.CAFile = true, "/nonexistent/ca.pem" }, "no such file"},
		{"verify", func(c *config) { c.Verify = false }, "add tls = true"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		dialoguetest.WantKey(t, err, c.key, c.text)
	}
	dialoguetest.BadPlainKeys(t, func(keys dialoguetest.Keys) error {
		_, err := build(configured(t, func(c *config) {
			c.Port, c.Timeout, c.Limit, c.Source, c.IP = keys.Port, keys.Timeout, keys.Limit, keys.Source, keys.IP
		}), monitors.Site{})
		return err
	})
}
