package mail

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/wording"
)

// carrier makes what the configuration asks for: a server, or sendmail.
func (c Config) carrier(site alerts.Site) (carrier, error) {
	if c.Server == "" {
		return c.program()
	}
	if c.Sendmail != defaultSendmail {
		return nil, alerts.BadKey("sendmail", "is not used when there is a server: leave out one of the two")
	}
	host, port, err := splitServer(c.Server)
	if err != nil {
		return nil, err
	}
	s := &server{addr: c.Server, host: host, user: c.User, password: c.Password, helo: c.HELO}
	if s.helo == "" {
		s.helo = hostname(site)
	}
	if strings.ContainsFunc(s.helo, func(r rune) bool { return r <= ' ' || wording.IsControl(r) }) {
		return nil, alerts.BadKey("helo", "%q is not a host name", s.helo)
	}
	if s.encryption, err = c.encryption(host, port); err != nil {
		return nil, err
	}
	if s.tls, err = c.tlsConfig(host); err != nil {
		return nil, err
	}
	return s, c.checkLogin(s)
}

func (c Config) program() (carrier, error) {
	for _, k := range []struct {
		key string
		set bool
	}{
		{"tls", c.TLS != ""},
		{"ca_file", c.CAFile != ""},
		{"verify", !c.Verify},
		{"user", c.User != ""},
		{"password", c.Password != ""},
		{"helo", c.HELO != ""},
	} {
		if k.set {
			return nil, alerts.BadKey(k.key, "is for a mail server, and there is none: add server = \"host:port\"")
		}
	}
	if !filepath.IsAbs(c.Sendmail) {
		return nil, alerts.BadKey("sendmail", "%q is not the path of a program: write it from the root, such as %q", c.Sendmail, defaultSendmail)
	}
	return &program{path: c.Sendmail}, nil
}

func splitServer(text string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(text)
	n, numeric := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || numeric != nil || n == 0 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || wording.IsControl(r) }) {
		return "", "", alerts.BadKey("server", "%q is not \"host:port\", such as \"mail.example.com:587\" or \"[::1]:25\"", text)
	}
	return host, port, nil
}

func (c Config) encryption(host, port string) (encryption, error) {
	switch c.TLS {
	case "":
		switch {
		case dial.Loopback(host):
			return inClear, nil
		case port == "465": // submissions, RFC 8314 section 3.3
			return implicitTLS, nil
		}
		return startTLS, nil
	case "none":
		return inClear, nil
	case "tls":
		return implicitTLS, nil
	case "starttls":
		return startTLS, nil
	}
	return inClear, alerts.BadKey("tls", "%q is not one of \"starttls\", \"tls\" and \"none\"", c.TLS)
}

func (c Config) tlsConfig(host string) (*tls.Config, error) {
	// verify = false is the user's own decision, and documented as such.
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: !c.Verify}
	if c.CAFile == "" {
		return config, nil
	}
	if !c.Verify {
		return nil, alerts.BadKey("ca_file", "is not used with verify = false: leave out one of the two")
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, alerts.BadKey("ca_file", "%w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, alerts.BadKey("ca_file", "%s holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\")", c.CAFile)
	}
	return config, nil
}

func (c Config) checkLogin(s *server) error {
	switch {
	case c.User == "" && c.Password == "":
		return nil
	case c.User == "":
		return alerts.BadKey("user", "is missing: there is a password but nobody to log in as")
	case c.Password == "":
		return alerts.BadKey("password", "is missing for the user %q: add password or password_file", c.User)
	case s.encryption == inClear && !dial.Loopback(s.host):
		return alerts.BadKey("tls", "\"none\" would send the password in clear to %s: use \"starttls\" or \"tls\"", s.addr)
	}
	return nil
}
