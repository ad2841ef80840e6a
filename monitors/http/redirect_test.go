package http

import (
	"crypto/tls"
	"fmt"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/monitors"
)

// site is a host whose page /a leads where to says, and whose other pages tell
// what was asked.
func site(code int, to string) func(net.Conn) {
	return serve(func(r *nethttp.Request, content string) string {
		if r.URL.Path == "/a" {
			return fmt.Sprintf("HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", code, to)
		}
		user, _, _ := r.BasicAuth()
		return page(fmt.Sprintf("%s %s host=%s user=%s probe=%s content=%s", r.Method, r.RequestURI, r.Host, user, r.Header.Get("X-Probe"), content))
	})
}

func following(change func(*config)) func(*config) {
	return func(c *config) {
		c.Path, c.Redirects, c.User, c.Password = "/a", 3, "probe", "hunter2"
		c.Headers = map[string]string{"X-Probe": "1"}
		if change != nil {
			change(c)
		}
	}
}

func TestRedirects(t *testing.T) {
	other := dialtest.Serve(t, "127.0.0.2", site(302, "/a"))
	for _, c := range []struct {
		name   string
		code   int
		to     string
		change func(*config)
		body   string // ENTRY is the host under test
		reason string
	}{
		{name: "relative", code: 302, to: "b?x=1", body: "^GET /b\\?x=1 host=ENTRY user=probe probe=1 content=$"},
		{name: "query only", code: 301, to: "/b#part", body: "^GET /b host=ENTRY user=probe"},
		{
			name: "to the name in host, at the host's address", code: 302, to: "http://www.example.org/b",
			change: func(c *config) { c.Host = "WWW.example.org" }, body: "^GET /b host=www.example.org user=probe probe=1",
		},
		{name: "to another host, without secrets", code: 302, to: "http://" + other + "/b", body: "^GET /b host=" + other + " user= probe= content=$"},
		{name: "303", code: 303, to: "/b", change: func(c *config) { c.Method, c.Content = "PUT", "x" }, body: "^GET /b .* content=$"},
		{name: "302 of a POST", code: 302, to: "/b", change: func(c *config) { c.Content = "x" }, body: "^GET /b .* content=$"},
		{name: "307", code: 307, to: "/b", change: func(c *config) { c.Content = "x" }, body: "^POST /b .* user=probe .* content=x$"},
		{name: "308 to another host", code: 308, to: "http://" + other + "/b", change: func(c *config) { c.Content = "x" }, body: "^POST /b .* user= .* content=$"},
		{name: "300 is no redirect", code: 300, to: "/b"},
		{name: "without a place", code: 302, to: ""},
		{name: "in a circle", code: 302, to: "/a", reason: "more than 3 redirects, the last to http://ENTRY/a"},
		{name: "not followed", code: 302, to: "/b", change: func(c *config) { c.Redirects, c.Status = 0, "200" }, reason: "status 302 Moved, wanted 200"},
		{name: "page without the text", code: 302, to: "/b", body: "well", reason: "redirected to http://ENTRY/b: the body of"},
		{name: "to no HTTP", code: 302, to: "ftp://127.0.0.1/", reason: `status 302 Moved leads to "ftp://127.0.0.1/", which is no HTTP address`},
		{name: "to port 0", code: 302, to: "http://127.0.0.1:0/", reason: "which is no HTTP address"},
		{name: "to a port out of range", code: 302, to: "http://127.0.0.1:99999/", reason: "which is no HTTP address"},
		{name: "to nowhere", code: 302, to: "http:///b", reason: "which is no HTTP address"},
		{name: "to a host that refuses", code: 302, to: "http://REFUSED/b", reason: "redirected to http://REFUSED/b: REFUSED: connection refused"},
		{name: "password in the URL", code: 302, to: "http://me:sesame@REFUSED/b", reason: "redirected to http://REFUSED/b: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused := dialtest.Refused(t, "127.0.0.3")
			entry := dialtest.Serve(t, "127.0.0.1", site(c.code, strings.ReplaceAll(c.to, "REFUSED", refused)))
			fill := strings.NewReplacer("ENTRY", entry, "REFUSED", refused).Replace
			p := mustProbe(t, configured(t, following(func(conf *config) {
				if c.change != nil {
					c.change(conf)
				}
				conf.Body = fill(c.body)
			})))
			verify(t, check(t, p, entry), fill(c.reason))
		})
	}
}

// TestRedirectToHTTPS: the same host on another port, with the keys of TLS.
func TestRedirectToHTTPS(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	serving := func(names ...string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, time.Hour, names...)}}
	}
	secure := dialtest.Serve(t, "127.0.0.1", dialtest.Secure(serving("127.0.0.1"), site(302, "")))
	entry := dialtest.Serve(t, "127.0.0.1", site(302, "https://"+secure+"/b"))
	trust := following(func(c *config) {
		c.CAFile, c.Body = authority.File, "host="+secure+" user=probe"
	})
	verify(t, check(t, mustProbe(t, configured(t, trust)), entry), "")

	// The password that was meant for HTTPS does not go back to plain HTTP, and
	// server_name is not for other hosts.
	plain := dialtest.Serve(t, "127.0.0.1", site(302, "/"))
	down := dialtest.Serve(t, "127.0.0.1", dialtest.Secure(serving("www.example.org"), site(302, "http://"+plain+"/b")))
	verify(t, check(t, mustProbe(t, configured(t, following(func(c *config) {
		c.TLS, c.CAFile, c.ServerName, c.Body = true, authority.File, "www.example.org", " user= probe= "
	}))), down), "")
	elsewhere := dialtest.Serve(t, "127.0.0.2", dialtest.Secure(serving("127.0.0.2"), site(302, "")))
	away := dialtest.Serve(t, "127.0.0.1", dialtest.Secure(serving("www.example.org"), site(302, "https://"+elsewhere+"/b")))
	verify(t, check(t, mustProbe(t, configured(t, following(func(c *config) {
		c.TLS, c.CAFile, c.ServerName = true, authority.File, "www.example.org"
	}))), away), "")
}

// TestRedirectBack: there and back again, as single sign-on does it, ends at the
// host under test and not at whatever its name stands for.
func TestRedirectBack(t *testing.T) {
	other := dialtest.Serve(t, "127.0.0.2", site(302, "http://www.example.org/b"))
	entry := dialtest.Serve(t, "127.0.0.1", site(302, "http://"+other+"/a"))
	p := mustProbe(t, configured(t, following(func(c *config) {
		c.Host, c.Body = "www.example.org", "^GET /b host=www.example.org user=probe probe=1"
	})))
	p.dialer.NameServer = dialtest.NameServer(t, dialtest.NoSuchName)
	verify(t, check(t, p, entry), "")
}

// TestRedirectToUnknownName: a name that nobody knows is no verdict.
func TestRedirectToUnknownName(t *testing.T) {
	entry := dialtest.Serve(t, "127.0.0.1", site(302, "http://sso.example./"))
	p := mustProbe(t, configured(t, following(nil)))
	p.dialer.NameServer = dialtest.NameServer(t, dialtest.ServerFailure)
	if got := check(t, p, entry); got.Verdict != monitors.Unknown || !strings.Contains(got.Reason, "lookup sso.example.") {
		t.Errorf("got %s, %q, want unknown", got.Verdict, got.Reason)
	}
}
