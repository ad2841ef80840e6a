package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("tls").(*config)
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

func check(t *testing.T, change func(*config), host string) monitors.HostResult {
	t.Helper()
	r, err := mustBuild(t, change).Check(t.Context(), monitors.Request{Hosts: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts[0]
}

func verify(t *testing.T, got monitors.HostResult, want monitors.Verdict, reason string) {
	t.Helper()
	if got.Verdict != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("got %s, %q, want %s, %q", got.Verdict, got.Reason, want, reason)
	}
}

// A holder has a certificate and its key.
type holder struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// issue makes a certificate that is good from a month before now to three months
// after it; nil as the issuer makes it self-signed.
func issue(t testing.TB, by *holder, change func(*x509.Certificate)) *holder {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xabc), NotBefore: now.Add(-30 * day), NotAfter: now.Add(90 * day),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	change(template)
	if by == nil {
		by = &holder{certificate: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{certificate: c, key: key}
}

func named(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = names[0], names }
}

// issuer is the template of a certificate that may issue others.
func issuer(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: name, Organization: []string{"Test"}}
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
		c.NotAfter = now.AddDate(5, 0, 0)
	}
}

func TestJudge(t *testing.T) {
	root, stranger := issue(t, nil, issuer("Root")), issue(t, nil, issuer("Stranger"))
	middle := issue(t, root, issuer("Middle"))
	lapsed := issue(t, root, func(c *x509.Certificate) { issuer("Lapsed")(c); c.NotAfter = now.Add(-day) })
	brief := issue(t, root, func(c *x509.Certificate) { issuer("Brief")(c); c.NotAfter = now.Add(5 * day) })
	foreign := issue(t, stranger, issuer("Foreign"))
	roots := x509.NewCertPool()
	roots.AddCert(root.certificate)

	www := named("www.example.org", "example.org")
	dated := func(from, to time.Time) func(*x509.Certificate) {
		return func(c *x509.Certificate) { www(c); c.NotBefore, c.NotAfter = from, to }
	}
	good := issue(t, middle, www)
	other := issue(t, middle, www)
	print256 := sha256.Sum256(good.certificate.Raw)
	key256 := sha256.Sum256(good.certificate.RawSubjectPublicKeyInfo)
	usual := wish{verify: true, days: 14, version: tls.VersionTLS12}
	with := func(change func(*wish)) wish { w := usual; change(&w); return w }
	for _, c := range []struct {
		name  string
		wish  wish
		chain []*holder
		host  string // default www.example.org
		want  string // the whole error, or its beginning if it ends in "..."; empty for none
	}{
		{"good", usual, []*holder{good, middle}, "", ""},
		{"with the root", usual, []*holder{good, middle, root}, "", ""},
		{"in disorder", usual, []*holder{good, root, middle}, "", ""},
		{"name with a last dot", usual, []*holder{good, middle}, "www.example.org.", ""},
		{
			"expired", usual,
			[]*holder{issue(t, middle, dated(now.Add(-90*day), now.Add(-20*day))), middle},
			"",
			`the certificate "www.example.org" expired on 2026-02-09 12:00Z, 20 days ago`,
		},
		{
			"just expired", usual,
			[]*holder{issue(t, middle, dated(now.Add(-90*day), now.Add(-90*time.Minute))), middle},
			"",
			`the certificate "www.example.org" expired on 2026-03-01 10:30Z, 1h30m0s ago`,
		},
		{
			"not yet", usual,
			[]*holder{issue(t, middle, dated(now.Add(3*day), now.Add(90*day))), middle},
			"",
			`the certificate "www.example.org" is not valid before 2026-03-04 12:00Z, in 3 days`,
		},
		{
			"few days", usual,
			[]*holder{issue(t, middle, dated(now.Add(-90*day), now.Add(10*day+time.Hour))), middle},
			"",
			`the certificate "www.example.org" expires on 2026-03-11 13:00Z, in 10 days, wanted 14 days`,
		},
		{
			"few hours", usual,
			[]*holder{issue(t, middle, dated(now.Add(-90*day), now.Add(10*time.Hour))), middle},
			"",
			`the certificate "www.example.org" expires on 2026-03-01 22:00Z, in 10h0m0s, wanted 14 days`,
		},
		{"just enough days", usual, []*holder{issue(t, middle, dated(now.Add(-90*day), now.Add(14*day))), middle}, "", ""},
		{"days not looked at", with(func(w *wish) { w.days = 0 }), []*holder{issue(t, middle, dated(now.Add(-90*day), now.Add(time.Hour))), middle}, "", ""},
		{
			"issuer ends before", usual,
			[]*holder{issue(t, brief, www), brief},
			"",
			`the issuer's certificate "Brief" expires on 2026-03-06 12:00Z, in 5 days, wanted 14 days`,
		},
		{
			"issuer expired", usual,
			[]*holder{issue(t, lapsed, www), lapsed},
			"",
			`the issuer's certificate "Lapsed" is valid from 2026-01-30 12:00Z to 2026-02-28 12:00Z only`,
		},
		{
			"another name", usual,
			[]*holder{good, middle},
			"mail.example.org",
			`the certificate "www.example.org" is for "www.example.org", "example.org", not for "mail.example.org"`,
		},
		{"an address", usual, []*holder{issue(t, middle, func(c *x509.Certificate) { www(c); c.IPAddresses = []net.IP{net.ParseIP("::1")} }), middle}, "::1", ""},
		{
			"another address", usual,
			[]*holder{issue(t, middle, func(c *x509.Certificate) { www(c); c.IPAddresses = []net.IP{net.ParseIP("::1")} }), middle},
			"::2",
			`the certificate "www.example.org" is for "www.example.org", "example.org", "::1", not for "::2"`,
		},
		{
			"many names", usual,
			[]*holder{issue(t, middle, named("a", "b", "c", "d", "e", "f", "g")), middle},
			"",
			`the certificate "a" is for "a", "b", "c", "d", "e" and 2 more, not for "www.example.org"`,
		},
		{
			"common name only", usual,
			[]*holder{issue(t, middle, func(c *x509.Certificate) { c.Subject.CommonName = "www.example.org" }), middle},
			"",
			`the certificate "www.example.org" is for no name at all (it has no subject alternative names), wanted "www.example.org"`,
		},
		{
			"no subject", usual,
			[]*holder{issue(t, middle, func(*x509.Certificate) {}), middle},
			"",
			`the certificate "serial number abc" is for no name at all...`,
		},
		{"wildcard", usual, []*holder{issue(t, middle, named("*.example.org")), middle}, "", ""},
		{"hostile subject", usual, []*holder{issue(t, middle, func(c *x509.Certificate) {
			c.Subject.CommonName, c.DNSNames = "a\x1b[31m\r\n"+strings.Repeat("x", 1000), []string{"b"}
		}), middle}, "", `the certificate "a [31m  xxx...`},
		{
			"intermediate missing", usual,
			[]*holder{good},
			"",
			`the issuer "CN=Middle,O=Test" of the certificate "www.example.org" is not trusted, and the server sends no certificate for it: an intermediate certificate is missing`,
		},
		{"another intermediate", usual, []*holder{good, foreign}, "", `the issuer "CN=Middle,O=Test" of the...`},
		{
			"untrusted root not sent", usual,
			[]*holder{issue(t, foreign, www), foreign},
			"",
			`the chain of the certificate "www.example.org" ends at "Foreign", whose issuer "CN=Stranger,O=Test" is not trusted`,
		},
		{
			"untrusted root", usual,
			[]*holder{issue(t, foreign, www), foreign, stranger},
			"",
			`the chain of the certificate "www.example.org" leads to "Stranger", which is not trusted`,
		},
		{"self-signed", usual, []*holder{issue(t, nil, www)}, "", `the certificate "www.example.org" is self-signed, and not trusted`},
		{"issuer that is none", usual, []*holder{issue(t, good, www), good, middle}, "", `the certificate "www.example.org" is not, or may not be, issued by "www.example.org", which the server sends for its issuer`},
		{"namesake of the issuer", usual, []*holder{good, issue(t, root, issuer("Middle"))}, "", `the certificate "www.example.org" is not, or may not be, issued by "Middle", which...`},
		{"not for servers", usual, []*holder{issue(t, middle, func(c *x509.Certificate) {
			www(c)
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), middle}, "", `the certificate "www.example.org" is not for servers`},
		{
			"several faults", usual,
			[]*holder{issue(t, middle, dated(now.Add(-90*day), now.Add(-20*day))), middle},
			"x.example.org",
			`the certificate "www.example.org" is for "www.example.org", "example.org", not for "x.example.org"; the certificate "www.example.org" expired on 2026-02-09 12:00Z, 20 days ago`,
		},
		{"not verified", with(func(w *wish) { w.verify = false }), []*holder{issue(t, nil, named("x"))}, "", ""},
		{
			"expired, not verified", with(func(w *wish) { w.verify = false }),
			[]*holder{issue(t, nil, dated(now.Add(-90*day), now.Add(-20*day)))},
			"",
			`the certificate "www.example.org" expired on 2026-02-09 12:00Z, 20 days ago`,
		},
		{"expired, nothing looked at", with(func(w *wish) { w.verify, w.days = false, 0 }), []*holder{issue(t, nil, dated(now.Add(-90*day), now.Add(-20*day)))}, "", ""},
		{"fingerprint", with(func(w *wish) { w.fingerprints = []string{"00", fmt.Sprintf("%x", print256)} }), []*holder{good, middle}, "", ""},
		{
			"another fingerprint", with(func(w *wish) { w.fingerprints = []string{fmt.Sprintf("%x", print256)} }),
			[]*holder{other, middle},
			"",
			`the certificate "www.example.org" has the fingerprint ...`,
		},
		{"pin", with(func(w *wish) { w.pins = []string{base64.StdEncoding.EncodeToString(key256[:])} }), []*holder{good, middle}, "", ""},
		{
			"another pin", with(func(w *wish) { w.pins = []string{base64.StdEncoding.EncodeToString(key256[:])} }),
			[]*holder{other, middle},
			"",
			`the certificate "www.example.org" has the public key sha256//...`,
		},
		{"version", with(func(w *wish) { w.version = tls.VersionTLS13 }), []*holder{good, middle}, "", "the server chose TLS 1.2, wanted TLS 1.3 or newer"},
		{"protocol", with(func(w *wish) { w.protocols = []string{"h2", "h3"} }), []*holder{good, middle}, "", "the server chose none of the protocols h2, h3 (ALPN)"},
		{"no certificate", usual, nil, "", "the server shows no certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.wish.roots = roots
			state := tls.ConnectionState{Version: tls.VersionTLS12}
			for _, h := range c.chain {
				state.PeerCertificates = append(state.PeerCertificates, h.certificate)
			}
			if c.host == "" {
				c.host = "www.example.org"
			}
			got := ""
			if err := c.wish.judge(state, c.host, now); err != nil {
				got = err.Error()
			}
			good := got == c.want
			if beginning, open := strings.CutSuffix(c.want, "..."); open {
				good = strings.HasPrefix(got, beginning)
			}
			if !good || strings.ContainsAny(got, "\x1b\n") || len(got) > 500 {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestConformance: the authority's certificates are for the loopback addresses.
func TestConformance(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	good := &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, 30*day, "127.0.0.1", "::1")}}
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			return mustBuild(t, func(c *config) { c.CAFile, c.Timeout = authority.File, monitors.Duration(time.Minute) })
		},
		Up:     func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Secure(good, dialtest.Hang)) },
		Down:   func(t testing.TB) string { return dialtest.Refused(t, "::1") },
		Silent: func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Hang) },
	})
}

func TestHosts(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	good := authority.Issue(t, 30*day, "www.example.org", "127.0.0.1", "::1")
	expired := authority.Issue(t, -3*day, "www.example.org", "127.0.0.1", "::1")
	secure := func(change func(*tls.Config)) func(net.Conn) {
		config := &tls.Config{Certificates: []tls.Certificate{good}}
		if change != nil {
			change(config)
		}
		return dialtest.Secure(config, dialtest.Hang)
	}
	soon := monitors.Duration(300 * time.Millisecond)
	const up, down = monitors.Up, monitors.Down
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		change func(*config)
		want   monitors.Verdict
		reason string
	}{
		{"good", secure(nil), nil, up, ""},
		{"for a name", secure(nil), func(c *config) { c.ServerName = "www.example.org" }, up, ""},
		{"another name", secure(nil), func(c *config) { c.ServerName = "x.example.org" }, down, `not for "x.example.org"`},
		{"expired", secure(func(s *tls.Config) { s.Certificates[0] = expired }), nil, down, `the certificate "test server" expired on `},
		{"few days", secure(nil), func(c *config) { c.CertificateDays = 60 }, down, "in 29 days, wanted 60 days"},
		{"the system's issuers", secure(nil), func(c *config) { c.CAFile = "" }, down, "intermediate certificate is missing"},
		{"TLS 1.1", secure(func(s *tls.Config) { s.MinVersion, s.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), nil, down, "the server chose TLS 1.1, wanted TLS 1.2 or newer"},
		{"TLS 1.0 will do", secure(func(s *tls.Config) { s.MinVersion, s.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }), func(c *config) { c.MinVersion = "1.0" }, up, ""},
		{"TLS 1.3", secure(nil), func(c *config) { c.MinVersion = "1.3" }, up, ""},
		{"ALPN", secure(func(s *tls.Config) { s.NextProtos = []string{"h2"} }), func(c *config) { c.ALPN = []string{"h3", "h2"} }, up, ""},
		{"no ALPN", secure(nil), func(c *config) { c.ALPN = []string{"h2"} }, down, "none of the protocols h2"},
		{"another ALPN", secure(func(s *tls.Config) { s.NextProtos = []string{"h3"} }), func(c *config) { c.ALPN = []string{"h2"} }, down, "no application protocol"},
		{"no TLS", dialtest.SayAndHang("220 mail\r\n"), nil, down, "connected, but the TLS handshake failed: tls: first record does not look like"},
		{"silent", dialtest.Hang, func(c *config) { c.Timeout = soon }, down, "connected, but the TLS handshake was not finished within the timeout"},
		{"closed", dialtest.Say(""), nil, down, "connected, but the TLS handshake failed: "},
		{"flood", dialtest.Flood, nil, down, "connected, but the TLS handshake failed: "},
		{"half a record", dialtest.SayAndHang("\x16\x03\x03\xff\xff"), func(c *config) { c.Timeout = soon }, down, "connected, but the TLS handshake "},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				got := check(t, func(conf *config) {
					conf.CAFile = authority.File
					if c.change != nil {
						c.change(conf)
					}
				}, dialtest.Serve(t, address, c.handle))
				verify(t, got, c.want, c.reason)
				if c.want == up && (got.Timings.Connect <= 0 || got.Timings.TLS <= 0) {
					t.Errorf("timings %+v", got.Timings)
				}
			})
		}
	}
}

// TestClientCertificate: a server that asks for one gets it.
func TestClientCertificate(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	certFile, keyFile := dialtest.Write(t, authority.Issue(t, 30*day, "client"))
	seen := make(chan int, 1)
	host := dialtest.Serve(t, "127.0.0.1", func(raw net.Conn) {
		conn := tls.Server(raw, &tls.Config{
			Certificates: []tls.Certificate{authority.Issue(t, 30*day, "127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert,
		})
		_ = conn.Handshake() // Judged by the state.
		seen <- len(conn.ConnectionState().PeerCertificates)
		_, _ = io.Copy(io.Discard, conn)
	})
	verify(t, check(t, func(c *config) { c.CAFile, c.CertFile, c.KeyFile = authority.File, certFile, keyFile }, host), monitors.Up, "")
	if n := <-seen; n != 1 {
		t.Errorf("the server got %d certificates, want 1", n)
	}
}

// TestClientCertificateRefused: with TLS 1.3 a server does that after our handshake is
// done.
func TestClientCertificateRefused(t *testing.T) {
	authority, stranger := dialtest.NewAuthority(t), dialtest.NewAuthority(t)
	clients := x509.NewCertPool()
	pem, err := os.ReadFile(authority.File)
	if err != nil || !clients.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	ours := func(a *dialtest.Authority) func(*config) {
		return func(c *config) { c.CertFile, c.KeyFile = dialtest.Write(t, a.Issue(t, 30*day, "client")) }
	}
	flood := func(conn net.Conn) {
		for {
			if _, err := conn.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}
	for _, c := range []struct {
		name   string
		auth   tls.ClientAuthType
		ours   func(*config) // nil for no certificate
		handle func(net.Conn)
		want   string // empty for up
	}{
		{"none", tls.RequireAndVerifyClientCert, nil, dialtest.Hang, "remote error: tls: certificate required"},
		{"stranger's", tls.RequireAndVerifyClientCert, ours(stranger), dialtest.Hang, "remote error: tls: unknown certificate authority"},
		{"good", tls.RequireAndVerifyClientCert, ours(authority), dialtest.Say("hello"), ""},
		{"good, and the server reads", tls.RequireAndVerifyClientCert, ours(authority), func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, ""},
		{"good, and the server hangs", tls.RequireAndVerifyClientCert, ours(authority), dialtest.Hang, ""},
		{"good, and the server floods", tls.RequireAndVerifyClientCert, ours(authority), flood, ""},
		{"none, which will do", tls.VerifyClientCertIfGiven, nil, dialtest.Say(""), ""},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+", "+tls.VersionName(version), func(t *testing.T) {
				server := &tls.Config{
					Certificates: []tls.Certificate{authority.Issue(t, 30*day, "127.0.0.1")}, MinVersion: version, MaxVersion: version,
					ClientAuth: c.auth, ClientCAs: clients,
				}
				got := check(t, func(to *config) {
					to.CAFile = authority.File
					if c.ours != nil {
						c.ours(to)
					}
				}, dialtest.Serve(t, "127.0.0.1", dialtest.Secure(server, c.handle)))
				switch {
				case c.want == "":
					verify(t, got, monitors.Up, "")
				case version == tls.VersionTLS13:
					verify(t, got, monitors.Down, "connected, but the TLS handshake failed: "+c.want)
				default:
					verify(t, got, monitors.Down, "connected, but the TLS handshake failed: remote error: tls: ")
				}
			})
		}
	}
}

// TestManyCertificates: what a server sends in hundreds is not compared each with each,
// which nothing would end.
func TestManyCertificates(t *testing.T) {
	stranger := issue(t, nil, issuer("Stranger"))
	leaf := issue(t, stranger, named("www.example.org"))
	for n, want := range map[int]string{
		followed:     `the chain of the certificate "www.example.org" leads to "Stranger", which is not trusted`,
		followed + 1: `no chain of the certificate "www.example.org" leads to a trusted issuer; the server sends 21 certificates, of which more than 20 are not explained`,
	} {
		sent := []*x509.Certificate{leaf.certificate}
		for len(sent) < n {
			sent = append(sent, stranger.certificate)
		}
		if err := gap(sent); err == nil || err.Error() != want {
			t.Errorf("%d: got %v, want %s", n, err, want)
		}
	}
}

func TestUntested(t *testing.T) {
	p, err := newProbe(configured(t, func(c *config) { c.Timeout = monitors.Duration(time.Second) }))
	if err != nil {
		t.Fatal(err)
	}
	p.dialer.NameServer = dialtest.NameServer(t, dialtest.ServerFailure)
	for _, host := range []string{"www.example.", "a b"} {
		if err := p.test(t.Context(), host, new(monitors.Timings)); !errors.Is(err, monitors.ErrUntested) {
			t.Errorf("%s: got %v, want untested", host, err)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, pem.EncodeToMemory(&pem.Block{Type: "NOTHING"}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"port", func(c *config) { c.Port = 0 }, "1 to 65535"},
		{"timeout", func(c *config) { c.Timeout = 0 }, "write a duration"},
		{"limit", func(c *config) { c.Limit = 0 }, "write 1 or more"},
		{"ip", func(c *config) { c.IP = "5" }, "no address family"},
		{"ca_file", func(c *config) { c.CAFile = empty }, "no certificate in PEM form"},
		{"ca_file", func(c *config) { c.CAFile, c.Verify = empty, false }, "verify = false"},
		{"cert_file", func(c *config) { c.CertFile = empty }, "needs key_file"},
		{"certificate_days", func(c *config) { c.CertificateDays = -1 }, "negative"},
		{"min_version", func(c *config) { c.MinVersion = "TLS1.2" }, `"1.2"`},
		{"fingerprint", func(c *config) { c.Fingerprint = []string{"00:11"} }, "64 hexadecimal digits"},
		{"pin", func(c *config) { c.Pin = []string{"sha256/" + strings.Repeat("A", 43) + "="} }, "sha256//"},
		{"pin", func(c *config) { c.Pin = []string{"sha256//AAAA"} }, "44 characters"},
		{"alpn", func(c *config) { c.ALPN = []string{""} }, "no name of a protocol"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %s and %q", err, c.key, c.text)
		}
	}
	good := func(c *config) {
		c.Fingerprint = []string{"SHA256:" + strings.Repeat("Ab:", 31) + "Ab", strings.Repeat("ab", 32)}
		c.Pin = []string{"sha256//" + strings.Repeat("A", 43) + "="}
	}
	p, err := newProbe(configured(t, good))
	if err != nil || p.wish.fingerprints[0] != p.wish.fingerprints[1] {
		t.Errorf("got %v, %v", p, err)
	}
}
