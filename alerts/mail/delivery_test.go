package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/mailsink"
	"github.com/monitord/monitord/internal/timeup"
)

// serve answers every connection with the handler until the test ends.
func serve(t testing.TB, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			handle(conn)
			stop()
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		<-done
	})
	return l.Addr().String()
}

// mute is a server that accepts connections and never says a word.
func mute(t testing.TB) string {
	return serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
}

// scripted is a server that answers each line with what the answers hold for its
// first word; to an empty answer it says nothing, and nothing at all after STARTTLS.
func scripted(t testing.TB, answers map[string]string) string {
	return serve(t, func(conn net.Conn) {
		fmt.Fprint(conn, "220 scripted\r\n")
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			verb, _, _ := strings.Cut(lines.Text(), " ")
			answer, ok := answers[verb]
			if !ok {
				answer = "250 ok"
			}
			if answer != "" {
				fmt.Fprint(conn, answer+"\r\n")
			}
			if verb == "STARTTLS" {
				_, _ = io.Copy(io.Discard, conn)
			}
		}
	})
}

// certificate returns a server's configuration for 127.0.0.1 and the file of the
// authority that signed it.
func certificate(t *testing.T) (config *tls.Config, caFile string) {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: web.TLS.Certificates}, caFile
}

func TestDeliveryOverTLSWithLogin(t *testing.T) {
	config, caFile := certificate(t)
	users := map[string]string{"mon": "s3cret"}
	tests := []struct {
		name      string
		sink      mailsink.Options
		set       func(*Config)
		encrypted bool
		user      string
	}{
		{name: "loopback, in clear", sink: mailsink.Options{TLS: config}, set: func(*Config) {}},
		{name: "starttls", sink: mailsink.Options{TLS: config}, set: func(c *Config) { c.TLS, c.CAFile = "starttls", caFile }, encrypted: true},
		{name: "starttls, not verified", sink: mailsink.Options{TLS: config}, set: func(c *Config) { c.TLS, c.Verify = "starttls", false }, encrypted: true},
		{name: "tls", sink: mailsink.Options{TLS: config, Implicit: true}, set: func(c *Config) { c.TLS, c.CAFile = "tls", caFile }, encrypted: true},
		{
			name: "starttls and login", sink: mailsink.Options{TLS: config, Users: users},
			set: func(c *Config) {
				c.TLS, c.CAFile, c.User, c.Password = "starttls", caFile, "mon", "s3cret"
			}, encrypted: true, user: "mon",
		},
		{
			name: "the old LOGIN", sink: mailsink.Options{TLS: config, Implicit: true, Users: users, Mechanisms: []string{"LOGIN"}},
			set: func(c *Config) { c.TLS, c.CAFile, c.User, c.Password = "tls", caFile, "mon", "s3cret" }, encrypted: true, user: "mon",
		},
		{
			name: "login on loopback", sink: mailsink.Options{Users: users},
			set: func(c *Config) { c.User, c.Password = "mon", "s3cret" }, user: "mon",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sink := startSink(t, tt.sink)
			a := newMailer(t, func(c *Config) { c.Server = sink.Addr(); tt.set(c) })
			if err := a.Send(t.Context(), failure()); err != nil {
				t.Fatal(err)
			}
			m := arrived(t, sink)
			if m.Encrypted != tt.encrypted || m.User != tt.user {
				t.Errorf("encrypted %v, user %q, want %v, %q", m.Encrypted, m.User, tt.encrypted, tt.user)
			}
		})
	}
}

func TestEncryptionByDefault(t *testing.T) {
	for addr, want := range map[string]encryption{
		"127.0.0.1:25": inClear, "[::1]:25": inClear, "localhost:587": inClear, "[::ffff:127.0.0.1]:25": inClear,
		"mail.localhost.:25": inClear, "127.0.0.1:465": inClear,
		"mail.example.com:25": startTLS, "192.0.2.1:587": startTLS, "localhost.example.com:25": startTLS,
		"mail.example.com:465": implicitTLS, "[2001:db8::1]:465": implicitTLS,
	} {
		a := newMailer(t, func(c *Config) { c.Server = addr })
		if got := a.(*mailer).via.(*server).encryption; got != want {
			t.Errorf("%s: %d, want %d", addr, got, want)
		}
	}
}

func TestDeliveryOverIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatalf("the test needs ::1 on the loopback device: %v", err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	a := newMailer(t, func(c *Config) { c.Server = addr })
	want := "mail server " + addr + ": connecting: connect: connection refused"
	if err := a.Send(t.Context(), failure()); err == nil || err.Error() != want {
		t.Errorf("Send = %v, want %s", err, want)
	}
}

func TestServerFaults(t *testing.T) {
	config, caFile := certificate(t)
	full := func(context.Context, mailsink.Message) error { return mailsink.Refuse(452, "disk full") }
	tests := []struct {
		name string
		sink mailsink.Options
		set  func(*Config)
		want string // %s is the server's address
	}{
		{
			"no STARTTLS",
			mailsink.Options{},
			func(c *Config) { c.TLS = "starttls" },
			`mail server %s: offers no STARTTLS; if the mail may travel in clear, set tls = "none"`,
		},
		{
			"unknown authority",
			mailsink.Options{TLS: config},
			func(c *Config) { c.TLS = "starttls" },
			`mail server %s: STARTTLS: tls: failed to verify certificate: x509: certificate signed by unknown authority`,
		},
		{
			"unknown authority, from the first byte",
			mailsink.Options{TLS: config, Implicit: true},
			func(c *Config) { c.TLS = "tls" },
			`mail server %s: TLS handshake: tls: failed to verify certificate: x509: certificate signed by unknown authority`,
		},
		{
			"TLS that is none",
			mailsink.Options{},
			func(c *Config) { c.TLS = "tls" },
			`mail server %s: TLS handshake: tls: first record does not look like a TLS handshake`,
		},
		{
			"wrong password",
			mailsink.Options{TLS: config, Users: map[string]string{"mon": "other"}},
			func(c *Config) {
				c.TLS, c.CAFile, c.User, c.Password = "starttls", caFile, "mon", "s3cret"
			},
			`mail server %s: login as "mon": refused: 535 5.7.8 Authentication failed`,
		},
		{
			"no login offered",
			mailsink.Options{},
			func(c *Config) { c.User, c.Password = "mon", "s3cret" },
			`mail server %s: offers no login (AUTH)`,
		},
		{
			"strange login",
			mailsink.Options{Users: map[string]string{"mon": "s3cret"}, Mechanisms: []string{"GSSAPI", "EXTERNAL"}},
			func(c *Config) { c.User, c.Password = "mon", "s3cret" },
			`mail server %s: offers only logins that are not supported: GSSAPI EXTERNAL`,
		},
		{
			"login wanted",
			mailsink.Options{Users: map[string]string{"mon": "s3cret"}},
			func(*Config) {},
			`mail server %s: sender monitord@dir1: refused: 502 5.7.0 Please authenticate first`,
		},
		{
			"every recipient refused",
			mailsink.Options{Rcpt: func(string) error { return mailsink.Refuse(550, "no such user") }},
			func(c *Config) { c.Cc = []string{"b@example.com"} },
			`mail server %s: refused every recipient: oncall@example.com (550 5.0.0 no such user), b@example.com (550 5.0.0 no such user)`,
		},
		{
			"message refused",
			mailsink.Options{Deliver: full},
			func(*Config) {},
			`mail server %s: message: refused: 452 4.0.0 disk full`,
		},
		{
			"message too big",
			mailsink.Options{MaxBytes: 100},
			func(*Config) {},
			`mail server %s: message: refused: 552 5.3.4 Maximum message size exceeded`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sink := startSink(t, tt.sink)
			a := newMailer(t, func(c *Config) { c.Server = sink.Addr(); tt.set(c) })
			err := a.Send(t.Context(), failure())
			if err == nil {
				t.Fatal("no error")
			}
			if got, want := err.Error(), fmt.Sprintf(tt.want, sink.Addr()); got != want {
				t.Errorf("error\n%s\nwant\n%s", got, want)
			}
			if errors.Is(err, alerts.ErrDelivered) {
				t.Error("the error says delivered")
			}
			if n := len(sink.Messages()); n != 0 {
				t.Errorf("%d mails arrived", n)
			}
		})
	}
}

func TestOneRefusedRecipientDoesNotKeepTheMailFromOthers(t *testing.T) {
	sink := startSink(t, mailsink.Options{Rcpt: func(to string) error {
		if to == "gone@example.com" {
			return mailsink.Refuse(550, "no such user")
		}
		return nil
	}})
	a := newMailer(t, func(c *Config) {
		c.Server = sink.Addr()
		c.To = []string{"gone@example.com", "a@example.com"}
		c.Cc = []string{"b@example.com", "a@example.com"}
	})
	err := a.Send(t.Context(), failure())
	want := "delivered with a complaint: mail server " + sink.Addr() + " refused gone@example.com (550 5.0.0 no such user)"
	if !errors.Is(err, alerts.ErrDelivered) || err.Error() != want {
		t.Errorf("Send = %v, want %s", err, want)
	}
	if got, want := arrived(t, sink).To, []string{"a@example.com", "b@example.com"}; !cmp.Equal(got, want) {
		t.Errorf("recipients %v, want %v", got, want)
	}
}

func TestNoSecretInErrors(t *testing.T) {
	const password = `s3"cret`
	// Servers that repeat what they were sent: AUTH PLAIN's line, LOGIN's second
	// answer, and one that decodes it.
	for name, answers := range map[string]map[string]string{
		"plain":   {"EHLO": "250-x\r\n250 AUTH PLAIN", "AUTH": "501 bad: AUTH PLAIN AG1vbgBzMyJjcmV0"},
		"login":   {"EHLO": "250-x\r\n250 AUTH LOGIN", "AUTH": "334 VXNlcm5hbWU6", "bW9u": "334 UGFzc3dvcmQ6", "czMiY3JldA==": "535 not czMiY3JldA=="},
		"decoded": {"EHLO": "250-x\r\n250 AUTH PLAIN", "AUTH": "535 wrong password: s3\"cret"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newMailer(t, func(c *Config) {
				c.Server, c.User, c.Password = scripted(t, answers), "mon", password
			})
			err := a.Send(t.Context(), failure())
			if err == nil {
				t.Fatal("no error")
			}
			for _, secret := range []string{password, "czMiY3JldA==", "AG1vbgBzMyJjcmV0"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q is in %q", secret, err)
				}
			}
			if !strings.Contains(err.Error(), "(secret)") {
				t.Errorf("the server's answer is not in %q", err)
			}
		})
	}
}

func TestHangingServersAreLeftInTime(t *testing.T) {
	config, _ := certificate(t)
	blockedSink := func(opts mailsink.Options) func(*testing.T) string {
		return func(t *testing.T) string { return startSink(t, opts).Addr() }
	}
	hang := func(ctx context.Context, _ mailsink.Message) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name, step string
		server     func(*testing.T) string
		set        func(*Config)
	}{
		{"no greeting", "greeting", func(t *testing.T) string { return mute(t) }, func(*Config) {}},
		{"no handshake", "TLS handshake", func(t *testing.T) string { return mute(t) }, func(c *Config) { c.TLS = "tls" }},
		{"no EHLO", "EHLO", func(t *testing.T) string { return scripted(t, map[string]string{"EHLO": ""}) }, func(*Config) {}},
		{"no handshake after STARTTLS", "STARTTLS", func(t *testing.T) string {
			return scripted(t, map[string]string{"EHLO": "250-x\r\n250 STARTTLS", "STARTTLS": "220 go"})
		}, func(c *Config) { c.TLS = "starttls" }},
		{"no answer to the recipient", "recipient oncall@example.com", func(t *testing.T) string {
			return scripted(t, map[string]string{"RCPT": ""})
		}, func(*Config) {}},
		{"no answer to DATA", "DATA", func(t *testing.T) string { return scripted(t, map[string]string{"DATA": ""}) }, func(*Config) {}},
		{"no answer to the message", "message", blockedSink(mailsink.Options{Deliver: hang}), func(*Config) {}},
		{"nor over TLS", "message", blockedSink(mailsink.Options{Deliver: hang, TLS: config}), func(c *Config) { c.TLS, c.Verify = "starttls", false }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// On a busy machine the step may need more time to be come to at all.
			for _, timeout := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
				addr := tt.server(t)
				a := newMailer(t, func(c *Config) {
					c.Server, c.Timeout = addr, alerts.Duration(timeout)
					tt.set(c)
				})
				start := time.Now()
				err := a.Send(t.Context(), failure())
				want := "mail server " + addr + ": " + tt.step + ": no answer in time: context deadline exceeded"
				if took := time.Since(start); took > timeout+4*time.Second {
					t.Errorf("it took %s for a timeout of %s", took, timeout)
				}
				if err != nil && err.Error() == want {
					return
				}
				if timeout == time.Minute || err == nil {
					t.Fatalf("Send = %v, want %s", err, want)
				}
			}
		})
	}
}

func TestFarewellIsNotWaitedFor(t *testing.T) {
	// After the message's last line the scripted server is asked to QUIT and is
	// silent.
	addr := scripted(t, map[string]string{"DATA": "354 go", "QUIT": ""})
	a := newMailer(t, func(c *Config) { c.Server = addr })
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
	defer cancel()
	if err := a.Send(ctx, failure()); err != nil {
		t.Errorf("a delivered mail is an error: %v", err)
	}
	if ctx.Err() != nil {
		t.Error("the farewell was waited for")
	}
}

func TestEndlessServer(t *testing.T) {
	addr := serve(t, func(conn net.Conn) {
		line := []byte("220-" + strings.Repeat("x", 1000) + "\r\n")
		for {
			if _, err := conn.Write(line); err != nil {
				return
			}
		}
	})
	a := newMailer(t, func(c *Config) { c.Server = addr })
	if err := a.Send(t.Context(), failure()); !errors.Is(err, errTalkative) {
		t.Errorf("Send = %v, want %v", err, errTalkative)
	}
}

func TestInternationalAddresses(t *testing.T) {
	sink := startSink(t, mailsink.Options{})
	a := newMailer(t, func(c *Config) { c.Server, c.To = sink.Addr(), []string{"jörg@example.com", `"a b"@example.com`} })
	if err := a.Send(t.Context(), failure()); err != nil {
		t.Fatal(err)
	}
	m := arrived(t, sink)
	if want := []string{"jörg@example.com", "a b@example.com"}; !cmp.Equal(m.To, want) || !m.UTF8 {
		t.Errorf("recipients %q, SMTPUTF8 %v, want %q, true", m.To, m.UTF8, want)
	}

	ascii := scripted(t, nil)
	a = newMailer(t, func(c *Config) { c.Server, c.To = ascii, []string{"jörg@example.com"} })
	want := "mail server " + ascii + ": cannot take addresses outside ASCII (it offers no SMTPUTF8)"
	if err := a.Send(t.Context(), failure()); err == nil || err.Error() != want {
		t.Errorf("Send = %v, want %s", err, want)
	}
}

// viaScript is an alert with a shell script for sendmail.
func viaScript(t testing.TB, script string) alerts.Alert {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sendmail")
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return newMailer(t, func(c *Config) {
		c.Sendmail = path
		c.To = []string{"Ops <oncall@example.com>"}
		c.Cc = []string{"boss@example.com"}
	})
}

func TestSendmail(t *testing.T) {
	dir := t.TempDir()
	a := viaScript(t, fmt.Sprintf("printf '%%s\\n' \"$@\" >%s/args; cat >%s/input", dir, dir))
	if err := a.Send(t.Context(), failure()); err != nil {
		t.Fatal(err)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(args), "-i\n-f\nmonitord@dir1\noncall@example.com\nboss@example.com\n"; got != want {
		t.Errorf("arguments %q, want %q", got, want)
	}
	input, err := os.ReadFile(filepath.Join(dir, "input"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(input, []byte("\r")) {
		t.Error("the input has carriage returns")
	}
	m := mailsink.Message{Raw: input}
	if got, want := m.Subject(), "DOWN web:http: 10.0.0.3 (1 of 3)"; got != want {
		t.Errorf("subject %q, want %q", got, want)
	}
	if got, want := m.Header("Cc"), "<boss@example.com>"; got != want {
		t.Errorf("Cc: %q, want %q", got, want)
	}
	if text := body(t, m); !strings.HasPrefix(text, "10.0.0.3 down since 03:12:04 (5m)") {
		t.Errorf("body %q", text)
	}
}

func TestSendmailFaults(t *testing.T) {
	t.Run("refuses", func(t *testing.T) {
		a := viaScript(t, "cat >/dev/null; echo 'queue file write error' >&2; exit 75")
		err := a.Send(t.Context(), failure())
		if err == nil || !strings.HasSuffix(err.Error(), "/sendmail: exit status 75: queue file write error") {
			t.Errorf("Send = %v", err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		there := filepath.Join(t.TempDir(), "there")
		ctx := timeup.AtWord(t, there)
		if err := viaScript(t, "echo >"+there+"; sleep 60").Send(ctx, failure()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send = %v, want %v", err, context.DeadlineExceeded)
		}
	})
	t.Run("missing", func(t *testing.T) {
		a := newMailer(t, func(c *Config) { c.Sendmail = "/nowhere/sendmail" })
		err := a.Send(t.Context(), failure())
		want := `install a mail server, or set server = "host:port"`
		if err == nil || !strings.HasSuffix(err.Error(), want) || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Send = %v, want ... %s", err, want)
		}
	})
}

func TestCancelled(t *testing.T) {
	sink := startSink(t, mailsink.Options{})
	a := newMailer(t, func(c *Config) { c.Server = sink.Addr() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Send(ctx, failure()); !errors.Is(err, context.Canceled) {
		t.Errorf("Send = %v, want %v", err, context.Canceled)
	}
	if n := len(sink.Messages()); n != 0 {
		t.Errorf("%d mails arrived", n)
	}
}
