package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/monitord/monitord/monitors"
)

// TLSKeys are the keys about TLS in a monitor's configuration, by their names
// there: server_name, verify, ca_file, cert_file, key_file, certificate_days.
type TLSKeys struct {
	ServerName      string
	Verify          bool
	CAFile          string
	CertFile        string
	KeyFile         string
	CertificateDays int
}

// Unused blames the first key that has a value although there is no TLS.
func (k TLSKeys) Unused() error {
	if key := k.First(); key != "" {
		return monitors.BadKey(key, "has no use without TLS: add tls = true, or leave it out")
	}
	return nil
}

// First names the first key that has another value than the default's, "" if none has.
func (k TLSKeys) First() string {
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"server_name", k.ServerName != ""},
		{"verify", !k.Verify},
		{"ca_file", k.CAFile != ""},
		{"cert_file", k.CertFile != ""},
		{"key_file", k.KeyFile != ""},
		{"certificate_days", k.CertificateDays != 0},
	} {
		if key.set {
			return key.name
		}
	}
	return ""
}

// TLS does the client's side of a handshake and judges the certificate.
type TLS struct {
	config *tls.Config
	days   int
}

// mostDays is a century; three would be longer than a [time.Duration] can be.
const mostDays = 36500

// NewTLS reads the files that the keys name, and blames the key that is wrong.
func NewTLS(k TLSKeys) (*TLS, error) {
	t := &TLS{
		// Without verification any name and any issuer will do, which is what
		// verify = false asks for.
		config: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !k.Verify},
		days:   k.CertificateDays,
	}
	if k.CertificateDays < 0 {
		return nil, monitors.BadKey("certificate_days", "%d is negative: write how many days the certificate must have left, or 0", k.CertificateDays)
	}
	if k.CertificateDays > mostDays {
		return nil, monitors.BadKey("certificate_days", "%d days are too many: write at most %d", k.CertificateDays, mostDays)
	}
	if k.CAFile != "" {
		if !k.Verify {
			return nil, monitors.BadKey("ca_file", "has no use with verify = false: leave one of them out")
		}
		roots, err := readRoots(k.CAFile)
		if err != nil {
			return nil, err
		}
		t.config.RootCAs = roots
	}
	if k.CertFile != "" || k.KeyFile != "" {
		if err := t.identify(k); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Config is what the keys say, for a library that makes the handshake itself; it
// knows nothing of certificate_days. The caller may change it.
func (t *TLS) Config() *tls.Config { return t.config.Clone() }

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, monitors.BadKey("ca_file", "%w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, monitors.BadKey("ca_file", "%s holds no certificate in PEM form", file)
	}
	return roots, nil
}

// identify loads the certificate that the monitor shows to servers that ask.
func (t *TLS) identify(k TLSKeys) error {
	if k.CertFile == "" {
		return monitors.BadKey("key_file", "needs cert_file, the certificate that belongs to the key")
	}
	if k.KeyFile == "" {
		return monitors.BadKey("cert_file", "needs key_file, the key that belongs to the certificate")
	}
	certificate, err := tls.LoadX509KeyPair(k.CertFile, k.KeyFile)
	if err != nil {
		return monitors.BadKey("cert_file", "%w", err)
	}
	t.config.Certificates = []tls.Certificate{certificate}
	return nil
}

// Handshake makes conn a TLS connection. name, the key server_name or else the
// host, is what the certificate must be for, and what SNI asks for unless it is
// an address. An error has passed [Verdict]; that ctx is done must be asked of
// ctx. Whatever the outcome, conn stays the caller's to close.
func (t *TLS) Handshake(ctx context.Context, conn *Conn, name string) (*Conn, error) {
	start := time.Now()
	config := t.config.Clone()
	config.ServerName = name
	secure := tls.Client(conn.Conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("the TLS handshake failed: %w", Broken(err))
	}
	inside := conn.secured(secure, start)
	if err := t.lifetime(secure.ConnectionState(), time.Now()); err != nil {
		return nil, err
	}
	return inside, nil
}

// Inspect does a handshake for a caller who judges what the server showed: any
// certificate will do, and any version from TLS 1.0 on. protocols are offered for
// ALPN, none if there are none. name is for SNI. A server that asked for a certificate
// is heard about ours. Errors are those of Handshake. Nothing can be said over the
// connection any more.
func (t *TLS) Inspect(ctx context.Context, conn *Conn, name string, protocols []string) (tls.ConnectionState, error) {
	start := time.Now()
	config := t.config.Clone()
	config.ServerName, config.NextProtos = name, protocols
	config.InsecureSkipVerify, config.MinVersion = true, tls.VersionTLS10
	asked, own := false, config.Certificates
	config.GetClientCertificate = func(wanted *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return choose(wanted, own), nil
	}
	secure := tls.Client(conn.Conn, config)
	err := secure.HandshakeContext(ctx)
	if err == nil {
		conn.secured(secure, start)
	}
	if err == nil && asked {
		err = refusal(ctx, conn, secure)
	}
	if err != nil {
		return tls.ConnectionState{}, fmt.Errorf("the TLS handshake failed: %w", Broken(err))
	}
	return secure.ConnectionState(), nil
}

// choose does what crypto/tls does without a GetClientCertificate.
func choose(wanted *tls.CertificateRequestInfo, own []tls.Certificate) *tls.Certificate {
	for i := range own {
		if wanted.SupportsCertificate(&own[i]) == nil {
			return &own[i]
		}
	}
	return new(tls.Certificate) // none
}

// verdictOnUs is how long a server that asked for a certificate may take to refuse ours.
const verdictOnUs = time.Second

// refusal returns what a server has against our certificate, or against there being none.
// With TLS 1.3 the handshake is over for us before it has seen that (RFC 8446, 2), so we
// take our leave, and hear whether it complains before it takes its own. Whatever else
// comes, or does not, is no refusal.
func refusal(ctx context.Context, conn *Conn, secure *tls.Conn) error {
	bound, ok := conn.Conn.(*boundConn)
	if !ok || secure.ConnectionState().Version < tls.VersionTLS13 {
		return nil
	}
	_ = secure.CloseWrite() // Where that fails the server has said why.
	// It may replace the end that bind has set, so ctx is asked after it.
	if err := bound.Conn.SetReadDeadline(time.Now().Add(verdictOnUs)); err != nil || ctx.Err() != nil {
		return nil //nolint:nilerr // There is no time left to hear of a refusal.
	}
	_, err := io.Copy(io.Discard, io.LimitReader(secure, farewell))
	if op, isOp := errors.AsType[*net.OpError](err); isOp && op.Op == "remote error" {
		return err
	}
	return nil
}

// farewell is how many bytes a server may say before its leave.
const farewell = 64 << 10

// Roots are the issuers of ca_file; nil means the system's.
func (t *TLS) Roots() *x509.CertPool { return t.config.RootCAs }

// lifetime judges how long the certificate is still good for.
func (t *TLS) lifetime(state tls.ConnectionState, now time.Time) error {
	if t.days == 0 || len(state.PeerCertificates) == 0 {
		return nil
	}
	const day = 24 * time.Hour
	end := expiry(state)
	left := end.Sub(now)
	switch date := end.UTC().Format(time.DateOnly); {
	case left < 0:
		return fmt.Errorf("the certificate expired on %s, wanted %d days left", date, t.days)
	case left < time.Duration(t.days)*day:
		return fmt.Errorf("the certificate expires on %s, in %d days, wanted %d", date, left/day, t.days)
	}
	return nil
}

// expiry returns when the certificate stops being accepted: the end of the
// verified chain that lasts longest, which may be an intermediate's; without
// verification the end of the server's own certificate.
func expiry(state tls.ConnectionState) time.Time {
	var last time.Time
	for _, chain := range state.VerifiedChains {
		end := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	if last.IsZero() {
		return state.PeerCertificates[0].NotAfter
	}
	return last
}
