package http

import (
	"cmp"
	"fmt"
	nethttp "net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/monitord/monitord/internal/dial"
)

// A stop is one request on the way along the redirects.
type stop struct {
	first  *stop // the host under test; nil if this is it
	target dial.Target
	url    *url.URL
	host   string // the Host header
	name   string // what the certificate must be for
	method string
	// trusted is false where password, headers and content must not go.
	trusted bool
}

func (p *probe) firstStop(entry string) (*stop, error) {
	port := p.Port
	if port == 0 {
		port = defaultPort(p.scheme())
	}
	target, err := dial.ParseTarget(entry, port)
	if err != nil {
		return nil, err
	}
	u := *p.request.url
	u.Scheme, u.Host = p.scheme(), cmp.Or(p.Host, hostHeader(target, p.scheme()))
	name := cmp.Or(p.ServerName, u.Hostname())
	return &stop{target: target, url: &u, host: u.Host, name: name, method: p.request.method, trusted: true}, nil
}

// follow returns the next stop if the answer is a redirect and some may be
// followed, nil if it is to be judged.
func (p *probe) follow(s *stop, answer *nethttp.Response) (*stop, error) {
	location := answer.Header.Get("Location")
	method := s.method
	switch answer.StatusCode {
	case nethttp.StatusSeeOther:
		if method != nethttp.MethodHead {
			method = nethttp.MethodGet
		}
	case nethttp.StatusMovedPermanently, nethttp.StatusFound:
		// What all browsers do with a POST (RFC 9110, 15.4.2 and 15.4.3).
		if method == nethttp.MethodPost {
			method = nethttp.MethodGet
		}
	case nethttp.StatusTemporaryRedirect, nethttp.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if p.Redirects == 0 || location == "" {
		return nil, nil
	}
	to, err := s.url.Parse(location)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "" || portOf(to) == 0 {
		return nil, fmt.Errorf("status %s leads to %q, which is no HTTP address", statusText(answer), dial.Clean(location, 150))
	}
	to.User, to.Fragment = nil, ""
	return cmp.Or(s.first, s).redirect(to, method)
}

// redirect decides where a URL is asked for: under the name of the host under
// test at that host, otherwise elsewhere.
func (s *stop) redirect(to *url.URL, method string) (*stop, error) {
	next := &stop{first: s, url: to, host: to.Host, method: method}
	if !strings.EqualFold(to.Hostname(), s.url.Hostname()) {
		target, err := dial.ParseTarget(to.Host, defaultPort(to.Scheme))
		if err != nil {
			return nil, fmt.Errorf("redirected to %s: %w", shortURL(to), err)
		}
		next.target, next.name = target, target.Host()
		return next, nil
	}
	next.target, next.name = s.target, s.name
	if to.Scheme != s.url.Scheme || portOf(to) != portOf(s.url) {
		// The port in the key host may differ from the one that is tested, so
		// it is only a change that leads to another.
		next.target.Port = portOf(to)
	}
	next.trusted = to.Scheme == "https" || s.url.Scheme == "http"
	return next, nil
}

// explain says behind a redirect which page the failure is about.
func (s *stop) explain(err error) error {
	if err == nil || s.first == nil {
		return err
	}
	return fmt.Errorf("redirected to %s: %w", shortURL(s.url), err)
}

func defaultPort(scheme string) int {
	if scheme == "https" {
		return 443
	}
	return 80
}

// portOf returns a URL's port, its scheme's if it names none, 0 if it is none.
func portOf(u *url.URL) uint16 {
	port, err := strconv.ParseUint(cmp.Or(u.Port(), strconv.Itoa(defaultPort(u.Scheme))), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// hostHeader writes the host as a browser does: without the scheme's own port.
func hostHeader(t dial.Target, scheme string) string {
	if int(t.Port) != defaultPort(scheme) {
		return dial.Target{Name: t.Host(), Port: t.Port}.String()
	}
	if strings.Contains(t.Host(), ":") {
		return "[" + t.Host() + "]"
	}
	return t.Host()
}

// shortURL writes a URL for a reason: without password and of a readable length.
func shortURL(u *url.URL) string { return dial.Clean(u.Redacted(), 150) }
