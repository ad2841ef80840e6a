package dial_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
)

const day = 24 * time.Hour

func TestHandshake(t *testing.T) {
	authority, stranger := dialtest.NewAuthority(t), dialtest.NewAuthority(t)
	good := authority.Issue(t, 30*day+time.Hour, "www.example.org", "127.0.0.1", "::1")
	expired := authority.Issue(t, -3*day, "www.example.org")
	trusting := dial.TLSKeys{Verify: true, CAFile: authority.File}
	days := func(k dial.TLSKeys, n int) dial.TLSKeys { k.CertificateDays = n; return k }
	for _, c := range []struct {
		name string
		cert tls.Certificate
		keys dial.TLSKeys
		for_ string
		want string // part of the error; empty for none
	}{
		{"good name", good, trusting, "www.example.org", ""},
		{"good name with a last dot", good, trusting, "www.example.org.", ""},
		{"good address", good, trusting, "127.0.0.1", ""},
		{"good IPv6 address", good, trusting, "::1", ""},
		{"wrong name", good, trusting, "mail.example.org", "certificate is valid for www.example.org, not mail.example.org"},
		{"wrong address", good, trusting, "127.0.0.2", "not 127.0.0.2"},
		{"unknown issuer", good, dial.TLSKeys{Verify: true, CAFile: stranger.File}, "www.example.org", "certificate signed by unknown authority"},
		{"system's issuers", good, dial.TLSKeys{Verify: true}, "www.example.org", "certificate signed by unknown authority"},
		{"expired", expired, trusting, "www.example.org", "certificate has expired"},
		{"not verified", expired, dial.TLSKeys{}, "mail.example.org", ""},
		{"days enough", good, days(trusting, 30), "www.example.org", ""},
		{"days too few", good, days(trusting, 31), "www.example.org", ", in 30 days, wanted 31"},
		{"days, not verified", good, days(dial.TLSKeys{}, 31), "mail.example.org", ", in 30 days, wanted 31"},
		{"expired, not verified", expired, days(dial.TLSKeys{}, 1), "www.example.org", "the certificate expired on "},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := dial.NewTLS(c.keys)
			if err != nil {
				t.Fatal(err)
			}
			config := &tls.Config{Certificates: []tls.Certificate{c.cert}}
			conn, err := shake(t, client, dialtest.Serve(t, "127.0.0.1", dialtest.Secure(config, dialtest.Hang)), c.for_)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, monitors.ErrUntested) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func shake(t *testing.T, client *dial.TLS, entry, name string) (*dial.Conn, error) {
	t.Helper()
	raw, err := newDialer(t, "", "").Dial(t.Context(), target(t, entry), new(monitors.Timings))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return client.Handshake(t.Context(), raw, name)
}

func TestHandshakeSendsNameAndCertificate(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	server := authority.Issue(t, day, "www.example.org")
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(authority.File)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("no authority: %v", err)
	}
	seen := make(chan tls.ConnectionState, 1)
	entry := dialtest.Serve(t, "127.0.0.1", func(raw net.Conn) {
		conn := tls.Server(raw, &tls.Config{
			Certificates: []tls.Certificate{server}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		})
		_ = conn.Handshake() // Judged by the state.
		seen <- conn.ConnectionState()
	})
	certFile, keyFile := dialtest.Write(t, authority.Issue(t, day, "client"))
	client, err := dial.NewTLS(dial.TLSKeys{Verify: true, CAFile: authority.File, CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := shake(t, client, entry, "www.example.org")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	state := <-seen
	if state.ServerName != "www.example.org" {
		t.Errorf("SNI was %q, want www.example.org", state.ServerName)
	}
	if len(state.VerifiedChains) == 0 {
		t.Error("the server got no certificate that it knows")
	}
}

func TestHandshakeFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		want   string
	}{
		{"no TLS", dialtest.SayAndHang("220 mail.example.org ESMTP\r\n"), "first record does not look like a TLS handshake"},
		{"closed", func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }, "the TLS handshake failed: the connection was closed"},
		{"no version in common", dialtest.Secure(&tls.Config{MaxVersion: tls.VersionTLS11}, dialtest.Hang), "the TLS handshake failed: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := dial.NewTLS(dial.TLSKeys{Verify: true})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := shake(t, client, dialtest.Serve(t, "127.0.0.1", c.handle), "www.example.org")
			if err == nil {
				conn.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTLSKeysRefused(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	certFile, keyFile := dialtest.Write(t, authority.Issue(t, day, "client"))
	_, otherKey := dialtest.Write(t, authority.Issue(t, day, "client"))
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		name string
		keys dial.TLSKeys
		key  string
		text string
	}{
		{"many days", dial.TLSKeys{CertificateDays: 36501}, "certificate_days", "at most 36500"},
		{"negative days", dial.TLSKeys{CertificateDays: -1}, "certificate_days", "negative"},
		{"no such file", dial.TLSKeys{Verify: true, CAFile: missing}, "ca_file", "no such file"},
		{"no certificate inside", dial.TLSKeys{Verify: true, CAFile: keyFile}, "ca_file", "no certificate in PEM form"},
		{"issuers that nobody asks", dial.TLSKeys{CAFile: authority.File}, "ca_file", "verify = false"},
		{"key without certificate", dial.TLSKeys{KeyFile: keyFile}, "key_file", "needs cert_file"},
		{"certificate without key", dial.TLSKeys{CertFile: certFile}, "cert_file", "needs key_file"},
		{"key of another", dial.TLSKeys{CertFile: certFile, KeyFile: otherKey}, "cert_file", "private key does not match"},
	} {
		got, err := dial.NewTLS(c.keys)
		wantKey(t, c.name, err, c.key, c.text)
		if got != nil {
			t.Errorf("%s: got a value with the error", c.name)
		}
	}
	for _, c := range []struct {
		keys dial.TLSKeys
		key  string
	}{
		{dial.TLSKeys{Verify: true, ServerName: "x"}, "server_name"},
		{dial.TLSKeys{}, "verify"},
		{dial.TLSKeys{Verify: true, CAFile: "x"}, "ca_file"},
		{dial.TLSKeys{Verify: true, CertFile: "x"}, "cert_file"},
		{dial.TLSKeys{Verify: true, KeyFile: "x"}, "key_file"},
		{dial.TLSKeys{Verify: true, CertificateDays: 1}, "certificate_days"},
	} {
		wantKey(t, "without TLS", c.keys.Unused(), c.key, "add tls = true")
	}
	if err := (dial.TLSKeys{Verify: true}).Unused(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func wantKey(t *testing.T, name string, err error, key, text string) {
	t.Helper()
	var got *plugin.KeyError
	if !errors.As(err, &got) || got.Key != key || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got %v, want key %s and %q", name, err, key, text)
	}
}
