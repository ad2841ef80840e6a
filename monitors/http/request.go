package http

import (
	"context"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/monitord/monitord/monitors"
)

// A request is what is asked, parsed.
type request struct {
	method  string
	url     *url.URL // path and query only
	headers nethttp.Header
}

// parseRequest checks what net/http would send as it is, or change silently.
func (p *probe) parseRequest() error {
	p.request.method = p.Method
	if p.Method == "" {
		p.request.method = nethttp.MethodGet
		if p.Content != "" {
			p.request.method = nethttp.MethodPost
		}
	}
	if !isToken(p.request.method) || p.request.method != strings.ToUpper(p.request.method) || p.request.method == nethttp.MethodConnect {
		return monitors.BadKey("method", `%q is no method: write one in capitals, like "GET", "HEAD" or "POST"`, p.Method)
	}
	u, err := url.ParseRequestURI(p.Path)
	if err != nil || !strings.HasPrefix(p.Path, "/") || strings.ContainsAny(p.Path, "# \t") {
		return monitors.BadKey("path", `%q is no path: write one that begins with a slash, like "/index.html?a=1", special characters as %%20`, p.Path)
	}
	p.request.url = u
	if p.Host != "" {
		if at, err := url.Parse("//" + p.Host); err != nil || at.Host != p.Host || at.Hostname() == "" || strings.ContainsAny(p.Host, " \t") {
			return monitors.BadKey("host", `%q is no value for the Host header: write a name, with a port if need be, like "www.example.org:8080"`, p.Host)
		}
	}
	if err := p.parseHeaders(); err != nil {
		return err
	}
	return p.checkLogin()
}

// ownHeaders are those that the other keys, or the request itself, decide.
var ownHeaders = [...]string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Expect", "Upgrade"}

func (p *probe) parseHeaders() error {
	p.request.headers = nethttp.Header{"User-Agent": {"monitord"}, "Accept": {"*/*"}}
	for name, value := range p.Headers {
		canonical := nethttp.CanonicalHeaderKey(name)
		switch {
		case !isToken(name):
			return monitors.BadKey("headers", `%q is no name of a header: write one like "X-Probe"`, name)
		case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return monitors.BadKey("headers", "%s has a line end or a control character in its value", name)
		case canonical == "Host":
			return monitors.BadKey("headers", "Host has a key of its own: write host = ...")
		case slices.Contains(ownHeaders[:], canonical):
			return monitors.BadKey("headers", "%s is set by the monitor itself: leave it out", name)
		}
		p.request.headers.Set(name, value)
	}
	return nil
}

func (p *probe) checkLogin() error {
	switch {
	case p.Password != "" && p.User == "":
		return monitors.BadKey("password", "has no use without user")
	case strings.Contains(p.User, ":"):
		return monitors.BadKey("user", "%q has a colon, which basic authentication does not allow (RFC 7617)", p.User)
	case p.User != "" && p.request.headers.Get("Authorization") != "":
		return monitors.BadKey("headers", "Authorization is what user and password make: leave one of them out")
	}
	return nil
}

// isToken is RFC 9110's token: methods and names of headers.
func isToken(s string) bool {
	const token = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" +
		"0123456789!#$%&'*+-.^_`|~"
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(token, r) }) < 0
}

// send writes the request for a stop and returns it, nil if none could be made.
func (p *probe) send(ctx context.Context, conn net.Conn, s *stop) (*nethttp.Request, error) {
	var content io.Reader
	if p.Content != "" && s.trusted && s.method == p.request.method {
		content = strings.NewReader(p.Content)
	}
	r, err := nethttp.NewRequestWithContext(ctx, s.method, s.url.String(), content)
	if err != nil {
		return nil, err
	}
	r.Host = s.host
	r.Close = true
	r.Header = nethttp.Header{"User-Agent": p.request.headers["User-Agent"], "Accept": p.request.headers["Accept"]}
	if s.trusted {
		r.Header = p.request.headers.Clone()
		if p.User != "" {
			r.SetBasicAuth(p.User, p.Password.Reveal())
		}
	}
	return r, r.Write(conn)
}
