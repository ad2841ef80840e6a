package tls

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

// A wish is what a handshake must bring.
type wish struct {
	verify       bool
	roots        *x509.CertPool // nil means the system's
	days         int
	fingerprints []string // hexadecimal
	pins         []string // base64
	version      uint16
	protocols    []string
}

// judge returns all that is wrong with what a server showed under a name.
func (w *wish) judge(state tls.ConnectionState, name string, now time.Time) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	leaf := state.PeerCertificates[0]
	var wrong faults
	chain := []*x509.Certificate{leaf}
	if w.verify {
		wrong.add(forName(leaf, name))
		chains, err := w.chains(state, now)
		switch {
		case errors.Is(err, monitors.ErrUntested):
			return err
		case err != nil:
			wrong.add(err)
		default:
			chain = longest(chains)
		}
	}
	wrong.add(w.lifetime(chain, now))
	wrong.add(w.identity(leaf))
	wrong.add(w.agreement(state))
	return wrong.err()
}

// chains returns the ways from the server's certificate to a trusted issuer.
func (w *wish) chains(state tls.ConnectionState, now time.Time) ([][]*x509.Certificate, error) {
	leaf := state.PeerCertificates[0]
	if err := dates(leaf, now); err != nil {
		return nil, err
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: w.roots, Intermediates: others(state), CurrentTime: now})
	if _, noRoots := errors.AsType[x509.SystemRootsError](err); noRoots {
		return nil, monitors.Untested(err)
	}
	if err != nil {
		return nil, explain(err, state.PeerCertificates)
	}
	return chains, nil
}

// faults are the reasons why a host is down.
type faults []error

func (f *faults) add(err error) {
	if err != nil {
		*f = append(*f, err)
	}
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	texts := make([]string, len(f))
	for i, err := range f {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

func others(state tls.ConnectionState) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		pool.AddCert(c)
	}
	return pool
}

// subject names a certificate for people.
func subject(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if name == "" && len(c.DNSNames) > 0 {
		name = c.DNSNames[0]
	}
	if name == "" {
		name = c.Subject.String()
	}
	if name == "" {
		name = fmt.Sprintf("serial number %x", c.SerialNumber)
	}
	return quote(name)
}

// quote makes a host's own words fit for a line.
func quote(s string) string { return strconv.Quote(dial.Clean(s, 100)) }

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// span writes a time in days, or less than two in hours.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Round(time.Minute).String()
}

// dates judges by the dates of one certificate.
func dates(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("the certificate %s expired on %s, %s ago", subject(c), date(c.NotAfter), span(now.Sub(c.NotAfter)))
	case now.Before(c.NotBefore):
		return fmt.Errorf("the certificate %s is not valid before %s, in %s", subject(c), date(c.NotBefore), span(c.NotBefore.Sub(now)))
	}
	return nil
}

// shown bounds how many names a reason lists.
const shown = 5

func forName(leaf *x509.Certificate, name string) error {
	if leaf.VerifyHostname(name) == nil {
		return nil
	}
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Errorf("the certificate %s is for no name at all (it has no subject alternative names), wanted %s", subject(leaf), quote(name))
	}
	var list []string
	for _, n := range names[:min(len(names), shown)] {
		list = append(list, quote(n))
	}
	more := ""
	if len(names) > shown {
		more = fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return fmt.Errorf("the certificate %s is for %s%s, not for %s", subject(leaf), strings.Join(list, ", "), more, quote(name))
}

// explain words why a chain is not trusted.
func explain(err error, sent []*x509.Certificate) error {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return gap(sent)
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok || invalid.Cert == nil {
		return errors.New(dial.Clean(err.Error(), 300))
	}
	switch invalid.Reason { //nolint:exhaustive // the library's own words will do for the rest
	case x509.Expired:
		c := invalid.Cert
		return fmt.Errorf("the issuer's certificate %s is valid from %s to %s only", subject(c), date(c.NotBefore), date(c.NotAfter))
	case x509.IncompatibleUsage:
		return fmt.Errorf("the certificate %s is not for servers", subject(invalid.Cert))
	}
	return fmt.Errorf("the certificate %s: %s", subject(invalid.Cert), dial.Clean(err.Error(), 300))
}

// followed is how many certificates gap compares, each with each: some hundred, made for
// it, would take it minutes, when the time for the host is over.
const followed = 20

// gap follows the certificates that a server sent from its own upwards, and tells
// where the way to a trusted issuer ends.
func gap(sent []*x509.Certificate) error {
	if len(sent) > followed {
		return fmt.Errorf("no chain of the certificate %s leads to a trusted issuer; the server sends %d certificates, of which more than %d are not explained", subject(sent[0]), len(sent), followed)
	}
	top := sent[0]
	var namesake *x509.Certificate
	for range sent {
		if selfIssued(top) {
			break
		}
		var issuer *x509.Certificate
		if issuer, namesake = issuerOf(top, sent); issuer == nil {
			break
		}
		top = issuer
	}
	issuer := quote(top.Issuer.String())
	switch {
	case namesake != nil:
		return fmt.Errorf("the certificate %s is not, or may not be, issued by %s, which the server sends for its issuer", subject(top), subject(namesake))
	case selfIssued(top) && top == sent[0]:
		return fmt.Errorf("the certificate %s is self-signed, and not trusted", subject(top))
	case selfIssued(top):
		return fmt.Errorf("the chain of the certificate %s leads to %s, which is not trusted", subject(sent[0]), subject(top))
	case top == sent[0]:
		return fmt.Errorf("the issuer %s of the certificate %s is not trusted, and the server sends no certificate for it: an intermediate certificate is missing", issuer, subject(top))
	}
	return fmt.Errorf("the chain of the certificate %s ends at %s, whose issuer %s is not trusted", subject(sent[0]), subject(top), issuer)
}

// issuerOf finds the certificate by which another was issued, or else one that only
// has the issuer's name.
func issuerOf(c *x509.Certificate, sent []*x509.Certificate) (issuer, namesake *x509.Certificate) {
	for _, candidate := range sent {
		switch {
		case !bytes.Equal(candidate.RawSubject, c.RawIssuer):
		case c.CheckSignatureFrom(candidate) == nil:
			return candidate, nil
		default:
			namesake = candidate
		}
	}
	return nil, namesake
}

func selfIssued(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// longest returns the chain that lasts longest. Clients may choose any.
func longest(chains [][]*x509.Certificate) []*x509.Certificate {
	return slices.MaxFunc(chains, func(a, b []*x509.Certificate) int {
		return first(a).NotAfter.Compare(first(b).NotAfter)
	})
}

// first returns the certificate of a chain that ends first.
func first(chain []*x509.Certificate) *x509.Certificate {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// lifetime judges how long a chain is still good for.
func (w *wish) lifetime(chain []*x509.Certificate, now time.Time) error {
	c := first(chain)
	left := c.NotAfter.Sub(now)
	switch {
	case w.days == 0 || left >= time.Duration(w.days)*24*time.Hour:
		return nil
	case left < 0 && w.verify:
		return nil // That has been said.
	case left < 0:
		return dates(c, now)
	}
	what := "certificate"
	if c != chain[0] {
		what = "issuer's certificate"
	}
	return fmt.Errorf("the %s %s expires on %s, in %s, wanted %d days", what, subject(c), date(c.NotAfter), span(left), w.days)
}

// identity judges by fingerprint and public key.
func (w *wish) identity(leaf *x509.Certificate) error {
	digest := sha256.Sum256(leaf.Raw)
	if got := hex.EncodeToString(digest[:]); len(w.fingerprints) > 0 && !slices.Contains(w.fingerprints, got) {
		return fmt.Errorf("the certificate %s has the fingerprint %s, which is not among those wanted", subject(leaf), got)
	}
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	if got := base64.StdEncoding.EncodeToString(key[:]); len(w.pins) > 0 && !slices.Contains(w.pins, got) {
		return fmt.Errorf("the certificate %s has the public key sha256//%s, which is not among those wanted", subject(leaf), got)
	}
	return nil
}

// agreement judges what client and server agreed on.
func (w *wish) agreement(state tls.ConnectionState) error {
	if state.Version < w.version {
		return fmt.Errorf("the server chose %s, wanted %s or newer", tls.VersionName(state.Version), tls.VersionName(w.version))
	}
	if len(w.protocols) > 0 && state.NegotiatedProtocol == "" {
		return fmt.Errorf("the server chose none of the protocols %s (ALPN)", strings.Join(w.protocols, ", "))
	}
	return nil
}
