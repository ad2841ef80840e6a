// Package http is the monitor "http": it asks each host for a page over HTTP/1.1
// and judges the answer.
//
//	monitor = { type = "http" }
//	monitor = { type = "http", path = "/healthz", host = "www.example.org", status = "200", body = "^ok" }
//	monitor = { type = "http", tls = true, server_name = "www.example.org", certificate_days = 14 }
//
// A host is up when it gave a whole answer within the timeout, with a status,
// body, digest and certificate as wanted; down when it refused, broke off, was
// silent or answered otherwise; unknown when it could not be asked, because its
// name could not be resolved or this machine has no route, no such source address
// or no socket left.
//
// Every host is asked at its own address, whatever host and server_name say: it
// is the real server that is tested. There is no proxy, no kept connection and no
// HTTP/2. A redirect is an answer like any other unless redirects allows to
// follow some; then those to the name in host, or the host's own, stay at its
// address, and those to another name go there without password, headers and
// content.
//
// The body is looked at as the server sent it, up to max_body bytes. No encoding
// is asked for, and none undone if headers does: digest and expressions then see
// the compressed bytes. A body that stops short of its announced length is down,
// and so is an endless one that trickles past the timeout: method = "HEAD" asks
// for none.
//
// Without tls, password and what headers has to log in with (Authorization, Cookie) go
// over the network in the clear: "monitord check" warns of it.
//
// Defaults: port 80, with tls 443; path "/", method GET (POST with content),
// status 2xx-3xx, redirects 0, verify true, timeout 10s, limit 32, ip any,
// max_body 1048576.
package http

import (
	"context"
	"fmt"
	"maps"
	nethttp "net/http"
	"regexp"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"TCP port, 1 to 65535, of hosts that name none of their own; default 80, with tls 443."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all, redirects included; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are tested at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to connect from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	Path     string            `toml:"path" doc:"Path to ask for, with its query; default \"/\"."`
	Method   string            `toml:"method" doc:"Method of the request; default GET, with content POST."`
	Host     string            `toml:"host" doc:"Value of the Host header, and default of server_name; default is the host's name."`
	Headers  map[string]string `toml:"headers" doc:"More headers of the request, as a table; default none."`
	Content  string            `toml:"content" doc:"Body of the request; default none."`
	User     string            `toml:"user" doc:"User for basic authentication; default none."`
	Password monitors.Secret   `toml:"password" doc:"Password of the user; default none."`

	Status     string `toml:"status" doc:"Status codes that are good, like \"200\", \"2xx\" or \"200-399,401\"; default 2xx-3xx."`
	Redirects  int    `toml:"redirects" doc:"How many redirects to follow, 0 to 20; default 0, a redirect is judged by its status."`
	Body       string `toml:"body" doc:"Regular expression (RE2) that the body must match; default none."`
	BodyAbsent string `toml:"body_absent" doc:"Regular expression (RE2) that the body must not match; default none."`
	Digest     string `toml:"digest" doc:"Digest of the whole body, \"sha256:\" or \"md5:\" and its hexadecimal digits; default none."`
	MaxBody    int    `toml:"max_body" doc:"How many bytes of the body are read and looked at, 1 to 104857600; default 1048576."`

	TLS             bool   `toml:"tls" doc:"Whether to speak HTTPS; default false."`
	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for; default is that of host, or the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's; default none."`
	CertFile        string `toml:"cert_file" doc:"PEM file of the certificate to show to servers that ask for one; default none."`
	KeyFile         string `toml:"key_file" doc:"PEM file of the key to cert_file; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for; default 0, not looked at."`
}

func init() {
	monitors.Register("http", config{
		Timeout: monitors.Duration(10 * time.Second), Limit: 32, IP: "any",
		Path: "/", Status: "2xx-3xx", MaxBody: 1 << 20, Verify: true,
	}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	p, err := newProbe(c)
	if err != nil {
		return nil, err
	}
	return monitors.EachHost(c.Limit, c.Timeout.Std(), p.test), nil
}

// Warnings implements [monitors.Warner].
func (c config) Warnings() (all []error) {
	if c.TLS {
		return nil
	}
	const inTheClear = "goes to the hosts in the clear, for everybody on the way to read: write tls = true"
	if c.Password != "" {
		all = append(all, monitors.BadKey("password", inTheClear))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		switch nethttp.CanonicalHeaderKey(name) {
		case "Authorization", "Proxy-Authorization", "Cookie":
			all = append(all, monitors.BadKey("headers."+name, inTheClear))
		}
	}
	return all
}

// probe is the configuration, parsed.
type probe struct {
	config
	dialer  *dial.Dialer
	tls     *dial.TLS
	request request
	status  statusSet
	body    *regexp.Regexp // nil if not wanted
	absent  *regexp.Regexp // nil if not wanted
	digest  *digest        // nil if not wanted
}

func newProbe(c config) (*probe, error) {
	p := &probe{config: c}
	for _, parse := range []func() error{
		p.checkNumbers, p.parseConnection, p.parseRequest, p.parseWanted,
	} {
		if err := parse(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *probe) checkNumbers() error {
	switch {
	case p.Port < 0 || p.Port > 65535:
		return monitors.BadKey("port", "%d is no TCP port: write a number from 1 to 65535", p.Port)
	case p.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"10s\"", p.Timeout)
	case p.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", p.Limit)
	case p.Redirects < 0 || p.Redirects > 20:
		return monitors.BadKey("redirects", "%d is out of range: write how many redirects to follow, 0 to 20", p.Redirects)
	case p.MaxBody < 1 || p.MaxBody > 100<<20:
		return monitors.BadKey("max_body", "%d is out of range: write a number of bytes from 1 to 104857600", p.MaxBody)
	}
	return nil
}

func (p *probe) parseConnection() (err error) {
	if p.dialer, err = dial.New(p.Source, p.IP); err != nil {
		return err
	}
	keys := dial.TLSKeys{
		ServerName: p.ServerName, Verify: p.Verify, CAFile: p.CAFile,
		CertFile: p.CertFile, KeyFile: p.KeyFile, CertificateDays: p.CertificateDays,
	}
	if !p.TLS && p.Redirects == 0 { // A redirect may lead to HTTPS.
		if err := keys.Unused(); err != nil {
			return err
		}
	}
	p.tls, err = dial.NewTLS(keys)
	return err
}

func (p *probe) parseWanted() (err error) {
	if p.status, err = parseStatus(p.config.Status); err != nil {
		return monitors.BadKey("status", "%w", err)
	}
	if p.body, err = parseRegexp("body", p.config.Body); err != nil {
		return err
	}
	if p.absent, err = parseRegexp("body_absent", p.BodyAbsent); err != nil {
		return err
	}
	if p.config.Digest != "" {
		if p.digest, err = parseDigest(p.config.Digest); err != nil {
			return monitors.BadKey("digest", "%w", err)
		}
	}
	if p.request.method == "HEAD" && (p.body != nil || p.absent != nil || p.digest != nil) {
		return monitors.BadKey("method", "HEAD brings no body to look at: use GET, or leave out body, body_absent and digest")
	}
	return nil
}

func parseRegexp(key, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, monitors.BadKey(key, "%w (RE2 syntax)", err)
	}
	return re, nil
}

// test asks one host, and where its redirects lead.
func (p *probe) test(ctx context.Context, entry string, took *monitors.Timings) error {
	stop, err := p.firstStop(entry)
	if err != nil {
		return monitors.Untested(err)
	}
	for followed := 0; ; followed++ {
		next, err := p.visit(ctx, stop, took)
		if err != nil || next == nil {
			return stop.explain(err)
		}
		if followed == p.Redirects {
			return fmt.Errorf("more than %d redirects, the last to %s", p.Redirects, shortURL(next.url))
		}
		stop = next
	}
}

func (p *probe) scheme() string {
	if p.TLS {
		return "https"
	}
	return "http"
}
