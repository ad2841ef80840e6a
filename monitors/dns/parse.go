package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
)

// probe is the configuration, parsed.
type probe struct {
	config
	dialer  *dial.Dialer
	tls     *dial.TLS // nil without tls
	wish    wish
	recurse bool
	serials bool // whether hosts are compared
}

// A wish is a question, and what its answer must be like.
type wish struct {
	question      dns.Question
	expect        []dns.RR // of question.Name; for TXT see text
	text          []string // expect as it was written
	match         match
	regexp        *regexp.Regexp // nil if not wanted
	rcode         int
	authoritative bool
	dnssec        bool
}

type match string

const (
	matchAll  match = "all"
	matchAny  match = "any"
	matchOnly match = "only"
)

func newProbe(c config) (*probe, error) {
	p := &probe{config: c, recurse: c.Recursion, serials: c.SameSerial || len(c.Master) > 0}
	p.wish = wish{authoritative: c.Authoritative, dnssec: c.DNSSEC, match: match(c.Match)}
	for _, parse := range []func() error{
		p.checkNumbers, p.parseConnection, p.parseQuestion, p.parseSerials, p.parseStatus, p.parseExpect,
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
		return monitors.BadKey("port", "%d is no port: write a number from 1 to 65535", p.Port)
	case p.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to answer: write a duration, like \"5s\"", p.Timeout)
	case p.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", p.Limit)
	case p.SerialThreshold < 0 || p.SerialThreshold > 1<<30:
		return monitors.BadKey("serial_threshold", "%d is out of range: write a number from 0 to 1073741824", p.SerialThreshold)
	}
	return nil
}

func (p *probe) parseConnection() (err error) {
	if p.dialer, err = dial.New(p.Source, p.IP); err != nil {
		return err
	}
	port := 53
	keys := dial.TLSKeys{ServerName: p.ServerName, Verify: p.Verify, CAFile: p.CAFile, CertificateDays: p.CertificateDays}
	switch p.Transport {
	case "udp", "tcp":
		if unused, ok := errors.AsType[*plugin.KeyError](keys.Unused()); ok {
			return monitors.BadKey(unused.Key, `has no use without TLS: write transport = "tls", or leave it out`)
		}
	case "tls":
		port = 853 // RFC 7858, 3.1
		if p.tls, err = dial.NewTLS(keys); err != nil {
			return err
		}
	default:
		return monitors.BadKey("transport", `%q is no way to ask: write "udp", "tcp" or "tls"`, p.Transport)
	}
	if p.Port == 0 {
		p.Port = port
	}
	return nil
}

func (p *probe) parseQuestion() error {
	name, record := p.Query, "A"
	addr, err := netip.ParseAddr(p.Query)
	isAddress := err == nil
	switch {
	case p.Query == "":
		return monitors.BadKey("query", `is missing: write the name to ask about, like "www.example.org"`)
	case isAddress:
		record = "PTR"
		if name, err = dns.ReverseAddr(addr.WithZone("").Unmap().String()); err != nil {
			return monitors.BadKey("query", "%w", err)
		}
	case strings.ContainsFunc(name, func(r rune) bool { return r > '~' }):
		return monitors.BadKey("query", `%q has letters outside of ASCII: write the form that begins with "xn--"`, name)
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' }) || !isName(name):
		return monitors.BadKey("query", "%q is no domain name", name)
	}
	if p.serials {
		record = "SOA"
	}
	if p.Record != "" {
		record = strings.ToUpper(p.Record)
	}
	kind, ok := recordType(record)
	switch {
	case !ok:
		return monitors.BadKey("record", `%q is no type of records that can be asked for: write one like "A", "MX" or "TYPE65"`, p.Record)
	case isAddress && kind != dns.TypePTR:
		return monitors.BadKey("query", `%q is an address, which has PTR records only: write a name`, p.Query)
	}
	p.wish.question = dns.Question{Name: dns.Fqdn(name), Qtype: kind, Qclass: dns.ClassINET}
	return nil
}

func isName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok
}

// recordType reads a type's name. Those that are questions only, or no data, are
// not among them (RFC 6895, 3.1); name servers may answer ANY as they like (RFC 8482).
func recordType(name string) (uint16, bool) {
	kind, ok := dns.StringToType[name]
	if number, unnamed := strings.CutPrefix(name, "TYPE"); !ok && unnamed {
		n, err := strconv.ParseUint(number, 10, 16)
		kind, ok = uint16(n), err == nil
	}
	meta := kind == dns.TypeNone || kind == dns.TypeOPT || kind >= 128 && kind <= 255
	return kind, ok && !meta
}

func (p *probe) parseSerials() error {
	if !p.serials {
		if p.SerialThreshold != 0 {
			return monitors.BadKey("serial_threshold", "has no use without master or same_serial")
		}
		return nil
	}
	if p.wish.question.Qtype != dns.TypeSOA {
		return monitors.BadKey("record", `%q has no serial number: leave it out, or write "SOA"`, p.Record)
	}
	if p.SameSerial && len(p.Master) > 0 {
		return monitors.BadKey("same_serial", "is an alternative to master: leave one of them out")
	}
	for _, master := range p.Master {
		if _, err := dial.ParseTarget(master, p.Port); err != nil {
			return monitors.BadKey("master", "%w", err)
		}
	}
	p.wish.authoritative, p.recurse = true, false
	return nil
}

func (p *probe) parseStatus() error {
	code, ok := dns.StringToRcode[strings.ToUpper(p.Rcode)]
	if !ok || code > dns.RcodeNotZone {
		return monitors.BadKey("rcode", `%q is no status of an answer: write one like "NOERROR", "NXDOMAIN", "SERVFAIL" or "REFUSED"`, p.Rcode)
	}
	p.wish.rcode = code
	if code == dns.RcodeSuccess {
		return nil
	}
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"expect", len(p.Expect) > 0},
		{"expect_regexp", p.ExpectRegexp != ""},
		{"master", len(p.Master) > 0},
		{"same_serial", p.SameSerial},
	} {
		if key.set {
			return monitors.BadKey(key.name, "has no use with rcode = %q, which brings no records", p.Rcode)
		}
	}
	return nil
}

func (p *probe) parseExpect() (err error) {
	w := &p.wish
	if !slices.Contains([]match{matchAll, matchAny, matchOnly}, w.match) {
		return monitors.BadKey("match", `%q is no way to match: write "all", "any" or "only"`, p.Match)
	}
	if w.match != matchAll && len(p.Expect) == 0 {
		return monitors.BadKey("match", "has no use without expect")
	}
	if p.ExpectRegexp != "" {
		if w.regexp, err = regexp.Compile(p.ExpectRegexp); err != nil {
			return monitors.BadKey("expect_regexp", "%w (RE2 syntax)", err)
		}
	}
	w.text = p.Expect
	for _, text := range p.Expect {
		record, err := parseRecord(w.question, text)
		if err != nil {
			return monitors.BadKey("expect", "%w", err)
		}
		w.expect = append(w.expect, record)
	}
	return nil
}

// parseRecord reads the data of a record as it stands in a zone's file.
func parseRecord(q dns.Question, text string) (dns.RR, error) {
	kind := typeName(q.Qtype)
	if q.Qtype == dns.TypeTXT {
		return nil, nil // It is compared as text.
	}
	record, err := dns.NewRR(fmt.Sprintf(". 0 IN %s %s", kind, text))
	if err != nil || record == nil || strings.ContainsAny(text, "\r\n\x00") || record.Header().Rrtype != q.Qtype {
		return nil, fmt.Errorf("%q is no data of a record of type %s, as a zone's file has it: write %s", text, kind, example(q.Qtype))
	}
	record.Header().Name = q.Name
	if unknown, ok := record.(*dns.RFC3597); ok {
		unknown.Rdata = strings.ToLower(unknown.Rdata) // as those that are received
	}
	return record, nil
}

// example shows what the data of a type looks like.
func example(kind uint16) string {
	switch kind {
	case dns.TypeA:
		return `an IPv4 address`
	case dns.TypeAAAA:
		return `an IPv6 address`
	case dns.TypeMX:
		return `its preference and name, like "10 mx.example.org"`
	case dns.TypeSRV:
		return `its priority, weight, port and target, like "0 5 5060 sip.example.org"`
	case dns.TypeSOA:
		return `all seven fields, or use expect_regexp`
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR:
		return `a name, like "ns1.example.org"`
	}
	return `all of its fields`
}

func typeName(kind uint16) string { return dns.Type(kind).String() }
