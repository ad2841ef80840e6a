package http

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
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

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("http").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	if change != nil {
		change(c)
	}
	return *c
}

func mustProbe(t *testing.T, c config) *probe {
	t.Helper()
	p, err := newProbe(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// check tests one host with a running probe, by way of EachHost.
func check(t *testing.T, p *probe, host string) monitors.HostResult {
	t.Helper()
	r, err := monitors.EachHost(p.Limit, p.Timeout.Std(), p.test).Check(t.Context(), monitors.Request{Hosts: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts[0]
}

// verify compares a result with up, or down for a reason.
func verify(t *testing.T, got monitors.HostResult, reason string) {
	t.Helper()
	want := monitors.Down
	if reason == "" {
		want = monitors.Up
	}
	if got.Verdict != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("got %s, %q, want %s, %q", got.Verdict, got.Reason, want, reason)
	}
}

func TestConformance(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			m, err := build(configured(t, func(c *config) { c.Timeout = monitors.Duration(time.Minute) }), monitors.Site{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Up:     func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", answer(page("hello"))) },
		Down:   func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", answer(status("503 Busy"))) },
		Silent: func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Hang) },
	})
}

// answer returns a handler that reads a request, sends raw text and closes.
func answer(raw string) func(net.Conn) {
	return serve(func(*nethttp.Request, string) string { return raw })
}

// hold is answer that keeps the connection open.
func hold(raw string) func(net.Conn) {
	return func(conn net.Conn) {
		answer(raw)(conn)
		dialtest.Hang(conn)
	}
}

// serve returns a handler that answers one request with raw text.
func serve(reply func(r *nethttp.Request, content string) string) func(net.Conn) {
	return func(conn net.Conn) {
		r, err := nethttp.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		content, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(conn, reply(r, string(content)))
	}
}

func page(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func status(line string) string { return "HTTP/1.1 " + line + "\r\nContent-Length: 0\r\n\r\n" }

const (
	sha256OfHello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	md5OfHello    = "5d41402abc4b2a76b9719d911017c592"
)

func TestHosts(t *testing.T) {
	soon := func(c *config) { c.Timeout = monitors.Duration(300 * time.Millisecond) }
	for _, c := range []struct {
		name   string
		handle func(net.Conn) // nil: the port refuses
		change func(*config)
		reason string // part of it; empty for up
	}{
		{name: "page", handle: answer(page("hello"))},
		{name: "page, connection kept open", handle: hold(page("hello"))},
		{name: "redirect is an answer", handle: answer(status("302 Found\r\nLocation: /x"))},
		{name: "no reason phrase", handle: answer("HTTP/1.1 200\r\n\r\n")},
		{name: "HTTP/1.0", handle: answer("HTTP/1.0 200 OK\r\n\r\nhello"), change: func(c *config) { c.Body = "^hello$" }},
		{name: "no content", handle: hold("HTTP/1.1 204 No Content\r\n\r\n")},
		{name: "HEAD", handle: hold("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), change: func(c *config) { c.Method = "HEAD" }},
		{name: "interim answers", handle: answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + page("hello"))},
		{
			name: "chunks", handle: hold("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
			change: func(c *config) { c.Body, c.Digest = "^hello$", "sha256:"+sha256OfHello },
		},
		{name: "refused", reason: "connection refused"},
		{name: "status", handle: answer(status("503 Service Unavailable")), reason: "status 503 Service Unavailable, wanted 2xx-3xx"},
		{name: "status wanted", handle: answer(status("401 Unauthorized")), change: func(c *config) { c.Status = "200,401" }},
		{name: "200 not wanted", handle: answer(page("")), change: func(c *config) { c.Status = "301" }, reason: "status 200 OK, wanted 301"},
		{name: "status in other words", handle: answer(status("500 \x1b[31m" + strings.Repeat("x", 1000))), reason: "status 500 [31mxxx"},
		{name: "silent", handle: dialtest.Hang, change: soon, reason: "connected, but no answer came within 300ms"},
		{name: "dripping header", handle: drip("HTTP/1.1 200 OK\r\nX: "), change: soon, reason: "connected, but no answer came within 300ms"},
		{name: "endless interim answers", handle: repeat("HTTP/1.1 102 Processing\r\n\r\n"), reason: "the header is longer than 262144 bytes"},
		{name: "closed", handle: answer(""), reason: "connected, but the connection was closed without an answer"},
		{name: "closed in the header", handle: answer("HTTP/1.1 200 OK\r\nX: y"), reason: "closed in the middle of the header"},
		{name: "reset", handle: reset, reason: "connected, but the answer is broken: connection reset by peer"},
		{name: "another protocol", handle: answer("SSH-2.0-OpenSSH_9.2\r\n"), reason: `the answer is broken: malformed HTTP response "SSH-2.0-OpenSSH_9.2"`},
		{name: "flood", handle: dialtest.Flood, reason: "the header is longer than 262144 bytes"},
		{name: "long header", handle: repeat("HTTP/1.1 200 OK\r\nX: x\r\n"), reason: "connected, but the "},
		{
			name: "body that stops", handle: hold("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), change: soon,
			reason: "status 200 OK, but the body was not complete within 300ms: 5 bytes came",
		},
		{
			name: "body cut off", handle: answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
			reason: "status 200 OK, but the body ended early: 5 of 10 bytes came",
		},
		{
			name: "chunks cut off", handle: answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
			reason: "status 200 OK, but the body ended early: 3 bytes came",
		},
		{
			name: "broken chunks", handle: answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhel"),
			reason: "status 200 OK, but the body broke off after 0 bytes: ",
		},
		{name: "endless body", handle: flood, change: func(c *config) { c.MaxBody = 100000 }},
		{
			name: "endless body without the text", handle: flood, change: func(c *config) { c.MaxBody, c.Body = 100000, "hello" },
			reason: `the body in its first 100000 bytes does not match "hello"; it begins with "xxx`,
		},
		{
			name: "digest of an endless body", handle: flood, change: func(c *config) { c.MaxBody, c.Digest = 100000, "md5:"+md5OfHello },
			reason: "the body is longer than max_body = 100000 bytes, so its digest is not known",
		},
		{name: "body longer than a header may be", handle: hold(page(strings.Repeat("x", 2*maxHeader) + "end")), change: func(c *config) { c.Body = "end$" }},
		{name: "body of just max_body", handle: hold(page("hello")), change: func(c *config) { c.MaxBody, c.Digest = 5, "md5:"+md5OfHello }},
		{name: "body", handle: answer(page("all is\nwell")), change: func(c *config) { c.Body = "(?m)^well$" }},
		{
			name: "another body", handle: answer(page("all is\x1b[0m lost")), change: func(c *config) { c.Body = "well" },
			reason: `the body of 15 bytes does not match "well"; it begins with "all is [0m lost"`,
		},
		{name: "absent", handle: answer(page("hello")), change: func(c *config) { c.BodyAbsent = "(?i)error" }},
		{
			name: "not absent", handle: answer(page("Database Error 17")), change: func(c *config) { c.BodyAbsent = "(?i)error [0-9]" },
			reason: `the body of 17 bytes has "Error 1", which matches body_absent "(?i)error [0-9]"`,
		},
		{name: "sha256", handle: answer(page("hello")), change: func(c *config) { c.Digest = "sha256:" + sha256OfHello }},
		{name: "md5", handle: answer(page("hello")), change: func(c *config) { c.Digest = "MD5:" + strings.ToUpper(md5OfHello) }},
		{
			name: "another digest", handle: answer(page("hello")), change: func(c *config) { c.Digest = "md5:" + strings.Repeat("0", 32) },
			reason: "the body of 5 bytes has the digest md5:" + md5OfHello + ", wanted md5:000",
		},
		{
			name: "compressed body is not unpacked", handle: answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
			change: func(c *config) { c.Digest = "md5:" + md5OfHello },
		},
		{name: "answer before the content is read", handle: dialtest.SayAndHang(page("hello")), change: func(c *config) { c.Content = strings.Repeat("x", 4<<20) }},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				host := dialtest.Refused(t, address)
				if c.handle != nil {
					host = dialtest.Serve(t, address, c.handle)
				}
				got := check(t, mustProbe(t, configured(t, c.change)), host)
				verify(t, got, c.reason)
				if len(got.Reason) > 600 {
					t.Errorf("the reason has %d bytes", len(got.Reason))
				}
			})
		}
	}
}

// drip answers with text and then a letter now and then, until the client goes.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			dialtest.Hang(conn)
		}()
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-gone:
				return
			case <-ticker.C:
				_, _ = io.WriteString(conn, "x")
			}
		}
	}
}

// reset breaks off when the request arrives.
func reset(conn net.Conn) {
	_, _ = conn.Read(make([]byte, 4096))
	dialtest.Reset(conn)
}

// repeat sends text over and over.
func repeat(text string) func(net.Conn) {
	many := strings.Repeat(text, 1000)
	return func(conn net.Conn) {
		for {
			if _, err := io.WriteString(conn, many); err != nil {
				return
			}
		}
	}
}

// flood is a page without end.
func flood(conn net.Conn) {
	answer("HTTP/1.1 200 OK\r\n\r\n")(conn)
	dialtest.Flood(conn)
}

// TestRequest compares what a server gets.
func TestRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config)
		want   string // request line, sorted headers and content; HOST is the entry
	}{
		{"defaults", nil, "GET / HTTP/1.1\nHost: HOST\nAccept: */*\nConnection: close\nUser-Agent: monitord\n\n"},
		{
			"path with query and escapes", func(c *config) { c.Path = "/a%20b//c?x=1&y=%2F" },
			"GET /a%20b//c?x=1&y=%2F HTTP/1.1\nHost: HOST\nAccept: */*\nConnection: close\nUser-Agent: monitord\n\n",
		},
		{
			"host", func(c *config) { c.Host = "www.example.org:81" },
			"GET / HTTP/1.1\nHost: www.example.org:81\nAccept: */*\nConnection: close\nUser-Agent: monitord\n\n",
		},
		{
			"headers", func(c *config) { c.Headers = map[string]string{"x-probe": "1", "user-agent": "me"} },
			"GET / HTTP/1.1\nHost: HOST\nAccept: */*\nConnection: close\nUser-Agent: me\nX-Probe: 1\n\n",
		},
		{
			"login", func(c *config) { c.User, c.Password = "Aladdin", "open sesame" },
			"GET / HTTP/1.1\nHost: HOST\nAccept: */*\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\nConnection: close\nUser-Agent: monitord\n\n",
		},
		{
			"content", func(c *config) { c.Content = "a=1" },
			"POST / HTTP/1.1\nHost: HOST\nAccept: */*\nConnection: close\nContent-Length: 3\nUser-Agent: monitord\n\na=1",
		},
		{
			"method", func(c *config) { c.Method, c.Content = "PUT", "a" },
			"PUT / HTTP/1.1\nHost: HOST\nAccept: */*\nConnection: close\nContent-Length: 1\nUser-Agent: monitord\n\na",
		},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				got := make(chan string, 1)
				entry := dialtest.Serve(t, address, serve(func(r *nethttp.Request, content string) string {
					var header strings.Builder
					if r.Close {
						r.Header.Set("Connection", "close")
					}
					if r.ContentLength > 0 {
						r.Header.Set("Content-Length", fmt.Sprint(r.ContentLength))
					}
					_ = r.Header.Write(&header)
					got <- fmt.Sprintf("%s %s %s\nHost: %s\n%s\n%s", r.Method, r.RequestURI, r.Proto, r.Host,
						strings.ReplaceAll(header.String(), "\r", ""), content)
					return page("")
				}))
				t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
				t.Setenv("http_proxy", "http://127.0.0.1:1")
				verify(t, check(t, mustProbe(t, configured(t, c.change)), entry), "")
				if request, want := <-got, strings.ReplaceAll(c.want, "HOST", entry); request != want {
					t.Errorf("got\n%s\nwant\n%s", request, want)
				}
			})
		}
	}
}

func TestUntested(t *testing.T) {
	for _, c := range []struct {
		name, host string
		dns        dialtest.Answer
		change     func(*config)
		reason     string
	}{
		{"name server fails", "web.example.", dialtest.ServerFailure, nil, "lookup web.example."},
		{"name server is mute", "web.example.", dialtest.Mute, nil, "lookup web.example."},
		{"no such name", "web.example.", dialtest.NoSuchName, nil, "lookup web.example."},
		{"source is not ours", "127.0.0.1", dialtest.Mute, func(c *config) { c.Source = "192.0.2.1" }, "source address 192.0.2.1"},
		{"a URL", "http://127.0.0.1/", dialtest.Mute, nil, "neither name:port nor an IPv6 address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := configured(t, c.change)
			conf.Timeout = monitors.Duration(time.Second)
			p := mustProbe(t, conf)
			p.dialer.NameServer = dialtest.NameServer(t, c.dns)
			if got := check(t, p, c.host); got.Verdict != monitors.Unknown || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %s, %q, want unknown, %q", got.Verdict, got.Reason, c.reason)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	day := 24 * time.Hour
	named := authority.Issue(t, 30*day, "www.example.org")
	addressed := authority.Issue(t, 30*day, "127.0.0.1", "::1")
	expired := authority.Issue(t, -day, "127.0.0.1", "::1")
	for _, c := range []struct {
		name   string
		cert   tls.Certificate
		handle func(net.Conn) // without TLS, instead of cert
		change func(*config)
		reason string
	}{
		{name: "host's address", cert: addressed},
		{name: "name of host", cert: named, change: func(c *config) { c.Host = "www.example.org:8443" }},
		{name: "server_name", cert: named, change: func(c *config) { c.Host, c.ServerName = "example.org", "www.example.org" }},
		{name: "wrong name", cert: named, reason: "connected, but the TLS handshake failed: tls: failed to verify certificate: x509: "},
		{name: "expired", cert: expired, reason: "certificate has expired"},
		{name: "not verified", cert: expired, change: func(c *config) { c.Verify, c.CAFile = false, "" }},
		{name: "few days left", cert: addressed, change: func(c *config) { c.CertificateDays = 60 }, reason: "connected, but the certificate expires on "},
		{name: "no TLS", handle: answer(page("")), change: func(c *config) { c.Timeout = monitors.Duration(300 * time.Millisecond) }, reason: "connected, but the TLS handshake "},
		{
			name: "no handshake", handle: dialtest.Hang, change: func(c *config) { c.Timeout = monitors.Duration(300 * time.Millisecond) },
			reason: "connected, but the TLS handshake was not finished within 300ms",
		},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				handle := c.handle
				if handle == nil {
					handle = dialtest.Secure(&tls.Config{Certificates: []tls.Certificate{c.cert}}, answer(page("hello")))
				}
				conf := configured(t, func(conf *config) {
					conf.TLS, conf.CAFile = true, authority.File
					if c.change != nil {
						c.change(conf)
					}
				})
				verify(t, check(t, mustProbe(t, conf), dialtest.Serve(t, address, handle)), c.reason)
			})
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	header := func(name, value string) func(*config) {
		return func(c *config) { c.Headers = map[string]string{name: value} }
	}
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"port", func(c *config) { c.Port = 65536 }, "1 to 65535"},
		{"timeout", func(c *config) { c.Timeout = 0 }, "write a duration"},
		{"limit", func(c *config) { c.Limit = 0 }, "write 1 or more"},
		{"redirects", func(c *config) { c.Redirects = 21 }, "0 to 20"},
		{"max_body", func(c *config) { c.MaxBody = 0 }, "1 to 104857600"},
		{"ip", func(c *config) { c.IP = "5" }, "no address family"},
		{"source", func(c *config) { c.Source = "eth0" }, "no address of this machine"},
		{"path", func(c *config) { c.Path = "index.html" }, "begins with a slash"},
		{"path", func(c *config) { c.Path = "http://x/" }, "begins with a slash"},
		{"path", func(c *config) { c.Path = "/a b" }, "%20"},
		{"path", func(c *config) { c.Path = "/a\r\nX: y" }, "is no path"},
		{"path", func(c *config) { c.Path = "/a#b" }, "is no path"},
		{"path", func(c *config) { c.Path = "/%zz" }, "is no path"},
		{"method", func(c *config) { c.Method = "get" }, "in capitals"},
		{"method", func(c *config) { c.Method = "GET /" }, "is no method"},
		{"method", func(c *config) { c.Method = "CONNECT" }, "is no method"},
		{"method", func(c *config) { c.Method, c.Body = "HEAD", "x" }, "brings no body"},
		{"host", func(c *config) { c.Host = "http://x" }, "no value for the Host header"},
		{"host", func(c *config) { c.Host = "a b" }, "no value for the Host header"},
		{"host", func(c *config) { c.Host = "a/b" }, "no value for the Host header"},
		{"host", func(c *config) { c.Host = "u@b" }, "no value for the Host header"},
		{"host", func(c *config) { c.Host = "a:x" }, "no value for the Host header"},
		{"headers", header("Host", "x"), "write host = ..."},
		{"headers", header("content-length", "1"), "set by the monitor itself"},
		{"headers", header("X Probe", "x"), "no name of a header"},
		{"headers", header("X-Probe", "x\r\nY: z"), "line end"},
		{"headers", func(c *config) { header("authorization", "x")(c); c.User = "u" }, "leave one of them out"},
		{"user", func(c *config) { c.User = "a:b" }, "colon"},
		{"password", func(c *config) { c.Password = "hunter2" }, "no use without user"},
		{"status", func(c *config) { c.Status = "" }, "is no HTTP status"},
		{"status", func(c *config) { c.Status = "2x" }, "is no HTTP status"},
		{"status", func(c *config) { c.Status = "99" }, "is no HTTP status"},
		{"status", func(c *config) { c.Status = "399-200" }, "ends before it begins"},
		{"body", func(c *config) { c.Body = "(" }, "RE2"},
		{"body_absent", func(c *config) { c.BodyAbsent = "(" }, "RE2"},
		{"digest", func(c *config) { c.Digest = md5OfHello }, "is no digest"},
		{"digest", func(c *config) { c.Digest = "sha256:" + md5OfHello }, "is no digest"},
		{"digest", func(c *config) { c.Digest = "sha1:" + md5OfHello }, "is no digest"},
		{"digest", func(c *config) { c.Digest = "md5:" + strings.Repeat("z", 32) }, "is no digest"},
		{"ca_file", func(c *config) { c.CAFile = "/x" }, "add tls = true"},
		{"certificate_days", func(c *config) { c.CertificateDays = 14 }, "add tls = true"},
		{"ca_file", func(c *config) { c.TLS, c.CAFile = true, "/nonexistent/ca.pem" }, "no such file"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %s and %q", err, c.key, c.text)
		}
	}
	if _, err := build(configured(t, nil), monitors.Site{}); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestStatusSet(t *testing.T) {
	for _, c := range []struct {
		set     string
		in, out []int
	}{
		{"200", []int{200}, []int{199, 201, 300}},
		{"2xx", []int{200, 299}, []int{199, 300}},
		{"2xx-3xx", []int{200, 399}, []int{199, 400}},
		{"200-399, 401", []int{200, 399, 401}, []int{400, 402}},
		{"4XX,200-204", []int{400, 204}, []int{205, 500}},
		{"301-3xx", []int{301, 399}, []int{300, 400}},
	} {
		set, err := parseStatus(c.set)
		if err != nil {
			t.Errorf("%s: %v", c.set, err)
		}
		for _, code := range c.in {
			if !set.contains(code) {
				t.Errorf("%s does not contain %d", c.set, code)
			}
		}
		for _, code := range c.out {
			if set.contains(code) {
				t.Errorf("%s contains %d", c.set, code)
			}
		}
	}
}
