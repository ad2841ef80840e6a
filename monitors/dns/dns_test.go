package dns

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/internal/timeup"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("dns").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	c.Query = "www.example.org"
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

func check(t *testing.T, change func(*config), hosts ...string) []monitors.HostResult {
	t.Helper()
	r, err := mustBuild(t, change).Check(t.Context(), monitors.Request{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts
}

func verify(t *testing.T, got monitors.HostResult, want monitors.Verdict, reason string) {
	t.Helper()
	if got.Verdict != want || !strings.Contains(got.Reason, reason) {
		t.Errorf("%s: got %s, %q, want %s, %q", got.Host, got.Verdict, got.Reason, want, reason)
	}
}

// A reply changes the empty answer to a question; it may replace it by nothing.
type reply func(m *dns.Msg)

// records answers with them, by authority.
func records(texts ...string) reply {
	return func(m *dns.Msg) {
		m.Authoritative, m.RecursionAvailable = true, true
		for _, text := range texts {
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
	}
}

func code(rcode int) reply { return func(m *dns.Msg) { m.Rcode = rcode } }

// respond makes the packet of an answer.
func respond(packet []byte, change reply) []byte {
	question := new(dns.Msg)
	if question.Unpack(packet) != nil {
		return nil
	}
	m := new(dns.Msg).SetReply(question)
	change(m)
	out, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

// serve is a name server over UDP.
func serve(t testing.TB, address string, change reply) string {
	t.Helper()
	return dialtest.ServeDatagrams(t, address, func(packet []byte) [][]byte { return [][]byte{respond(packet, change)} })
}

// stream is a name server over TCP; before is sent ahead of each answer.
func stream(before string, change reply) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			packet := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, packet); err != nil {
				return
			}
			answer := respond(packet, change)
			_, _ = io.WriteString(conn, before)
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
		}
	}
}

const www = "www.example.org. 60 IN A 192.0.2.80"

func TestConformance(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			return mustBuild(t, func(c *config) { c.Timeout = monitors.Duration(time.Minute) })
		},
		Up:     func(t testing.TB) string { return serve(t, "127.0.0.1", records(www)) },
		Down:   func(t testing.TB) string { return serve(t, "::1", code(dns.RcodeServerFailure)) },
		Silent: func(t testing.TB) string { return dialtest.ServeDatagrams(t, "127.0.0.1", dialtest.Ignore) },
	})
}

// TestConformanceStream: over TCP.
func TestConformanceStream(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			return mustBuild(t, func(c *config) { c.Transport, c.Timeout = "tcp", monitors.Duration(time.Minute) })
		},
		Up:     func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", stream("", records(www))) },
		Down:   func(t testing.TB) string { return dialtest.Refused(t, "::1") },
		Silent: func(t testing.TB) string { return dialtest.Serve(t, "127.0.0.1", dialtest.Hang) },
	})
}

// TestConformanceSerials: a comparison with a master.
func TestConformanceSerials(t *testing.T) {
	master := serve(t, "127.0.0.1", soa(7))
	monitortest.Run(t, monitortest.Subject{
		New: func(t testing.TB) monitors.Monitor {
			return mustBuild(t, func(c *config) {
				c.Query, c.Master, c.Timeout = "example.org", []string{master}, monitors.Duration(time.Minute)
			})
		},
		Up:     func(t testing.TB) string { return serve(t, "127.0.0.1", soa(7)) },
		Down:   func(t testing.TB) string { return serve(t, "127.0.0.1", soa(6)) },
		Silent: func(t testing.TB) string { return dialtest.ServeDatagrams(t, "127.0.0.1", dialtest.Ignore) },
	})
}

func TestAnswers(t *testing.T) {
	const up, down = monitors.Up, monitors.Down
	two := records(www, "WWW.example.ORG. 60 IN A 192.0.2.81")
	expect := func(match string, texts ...string) func(*config) {
		return func(c *config) { c.Match, c.Expect = match, texts }
	}
	mx := func(texts ...string) func(*config) {
		return func(c *config) { c.Query, c.Record, c.Expect = "example.org", "mx", texts }
	}
	txt := records(`www.example.org. 60 IN TXT "v=spf1 " "a:\"x\" \200 -all"`)
	aliased := records("www.example.org. 60 IN CNAME a.example.net.", "a.example.net. 60 IN CNAME b.example.net.", "b.example.net. 60 IN A 192.0.2.80")
	plain := func(r reply) reply { return func(m *dns.Msg) { r(m); m.Authoritative = false } }
	referral := func(m *dns.Msg) {
		records()(m)
		m.Authoritative = false
		m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "org.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "a0.org."}}
	}
	signed := func(m *dns.Msg) { records(www)(m); m.AuthenticatedData = true }
	bogus := func(m *dns.Msg) {
		m.Rcode = dns.RcodeServerFailure
		m.SetEdns0(1232, true)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: 6, ExtraText: "bad\x1bsignature"}}
	}
	for _, c := range []struct {
		name   string
		answer reply
		change func(*config)
		want   monitors.Verdict
		reason string
	}{
		{"any record", records(www), nil, up, ""},
		{"all", two, expect("all", "192.0.2.80"), up, ""},
		{"not all", two, expect("all", "192.0.2.80", "192.0.2.82"), down, `www.example.org A: "192.0.2.82" is not in the answer: "192.0.2.80", "192.0.2.81"`},
		{"any", two, expect("any", "192.0.2.82", "192.0.2.81"), up, ""},
		{"not any", two, expect("any", "192.0.2.82"), down, `none of "192.0.2.82" is in the answer`},
		{"only", two, expect("only", "192.0.2.81", "192.0.2.80"), up, ""},
		{"not only", two, expect("only", "192.0.2.81"), down, `more than "192.0.2.81" is in the answer: "192.0.2.80", "192.0.2.81"`},
		{"only, and one is missing", records(www), expect("only", "192.0.2.80", "192.0.2.81"), down, `"192.0.2.81" is not in the answer`},
		{"alias", aliased, expect("only", "192.0.2.80"), up, ""},
		{"alias asked for", aliased, func(c *config) { c.Record, c.Expect = "CNAME", []string{"A.Example.Net."} }, up, ""},
		{"alias without", records("www.example.org. 60 IN CNAME a.example.net."), nil, down, "www.example.org A is an alias of a.example.net., and no A record of that"},
		{"alias in a circle", records("www.example.org. 60 IN CNAME a.", "a. 60 IN CNAME www.example.org."), nil, down, "has no record for www.example.org A"},
		{"record of another name", records("evil.example.org. 60 IN A 192.0.2.80"), nil, down, "the answer has no record for www.example.org A"},
		{"record of another class", records("www.example.org. 60 CH A 192.0.2.80"), nil, down, "no record"},
		{"record of another type", records("www.example.org. 60 IN AAAA ::1"), nil, down, "no record"},
		{"MX", records("example.org. 60 IN MX 10 mx.example.org."), mx("10 MX.example.org"), up, ""},
		{"MX of another preference", records("example.org. 60 IN MX 20 mx.example.org."), mx("10 mx.example.org"), down, `"10 mx.example.org" is not in the answer: "20 mx.example.org."`},
		{"AAAA", records("www.example.org. 60 IN AAAA 2001:db8::1"), func(c *config) { c.Record, c.Expect = "AAAA", []string{"2001:DB8:0::1"} }, up, ""},
		{"SRV", records("_sip._udp.example.org. 60 IN SRV 0 5 5060 sip.example.org."), func(c *config) {
			c.Query, c.Record, c.Expect = "_sip._udp.example.org", "SRV", []string{"0 5 5060 sip.example.org"}
		}, up, ""},
		{"PTR", records("80.2.0.192.in-addr.arpa. 60 IN PTR www.example.org."), func(c *config) { c.Query, c.Expect = "192.0.2.80", []string{"www.example.org"} }, up, ""},
		{"PTR of IPv6", records("1." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa. 60 IN PTR www.example.org."), func(c *config) { c.Query = "2001:db8::1" }, up, ""},
		{"TXT", txt, func(c *config) { c.Record, c.Expect = "TXT", []string{"v=spf1 a:\"x\" \xc8 -all"} }, up, ""},
		{"another TXT", txt, func(c *config) { c.Record, c.Expect = "TXT", []string{"v=spf1"} }, down, `"v=spf1" is not in the answer: "v=spf1 a:\"x\"`},
		{"TXT by regexp", txt, func(c *config) { c.Record, c.ExpectRegexp = "TXT", "^v=spf1 .*-all$" }, up, ""},
		{"no match", txt, func(c *config) { c.Record, c.ExpectRegexp = "TXT", "^v=DKIM" }, down, `no match of "^v=DKIM" is in the answer`},
		{"unknown type", records(`www.example.org. 60 IN TYPE65280 \# 2 0a0b`), func(c *config) { c.Record, c.Expect = "TYPE65280", []string{`\# 2 0A0B`} }, up, ""},
		{"many", records(strings.Split(strings.Repeat(www+"\n", 9)+www, "\n")...), expect("all", "192.0.2.1"), down, `and 5 more`},

		{"no such name", code(dns.RcodeNameError), nil, down, "answers NXDOMAIN (no such name) for www.example.org A, wanted NOERROR"},
		{"refused", code(dns.RcodeRefused), nil, down, "answers REFUSED (it does not serve this zone, or not us)"},
		{"no such name, as wanted", code(dns.RcodeNameError), func(c *config) { c.Rcode = "nxdomain" }, up, ""},
		{"a name, not wanted", records(www), func(c *config) { c.Rcode = "NXDOMAIN" }, down, "answers NOERROR for www.example.org A, wanted NXDOMAIN"},
		{"refused, as wanted", code(dns.RcodeRefused), func(c *config) { c.Rcode = "REFUSED" }, up, ""},
		{"status without a name", code(13), nil, down, "answers status 13"},
		{"format error without the question", func(m *dns.Msg) { m.Rcode, m.Question = dns.RcodeFormatError, nil }, nil, down, "answers FORMERR"},
		{"empty", records(), nil, down, "the answer has no record for www.example.org A"},

		{"authoritative", records(www), func(c *config) { c.Authoritative = true }, up, ""},
		{"not authoritative", plain(records(www)), func(c *config) { c.Authoritative = true }, down, "is not authoritative"},
		{"not authoritative, not wanted", plain(records(www)), nil, up, ""},
		{"no such name, not by authority", code(dns.RcodeNameError), func(c *config) { c.Rcode, c.Authoritative = "NXDOMAIN", true }, down, "is not authoritative"},
		{"referral", referral, func(c *config) { c.Recursion = false }, down, `refers to the name servers of "org." (a lame delegation)`},
		{"referral by authority only", func(m *dns.Msg) { referral(m); m.RecursionAvailable = false }, nil, down, `offers no recursion; it refers to the name servers of "org."`},

		{"authenticated", signed, func(c *config) { c.DNSSEC = true }, up, ""},
		{"not authenticated", records(www), func(c *config) { c.DNSSEC = true }, down, "is not authenticated (AD)"},
		{"bogus", bogus, func(c *config) { c.DNSSEC = true }, down, "answers SERVFAIL for www.example.org A, wanted NOERROR (extended error 6, DNSSEC Bogus: bad signature)"},
		{"bogus, as wanted", bogus, func(c *config) { c.DNSSEC, c.Rcode = true, "SERVFAIL" }, up, ""},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				verify(t, check(t, c.change, serve(t, address, c.answer))[0], c.want, c.reason)
			})
		}
	}
}

// TestQuestion: what is asked, by which flags.
func TestQuestion(t *testing.T) {
	for _, c := range []struct {
		name       string
		change     func(*config)
		rd, ad, do bool
	}{
		{"default", nil, true, false, false},
		{"no recursion", func(c *config) { c.Recursion = false }, false, false, false},
		{"DNSSEC", func(c *config) { c.DNSSEC = true }, true, true, true},
		{"serials", func(c *config) { c.SameSerial = true }, false, false, false},
	} {
		seen := make(chan *dns.Msg, 8)
		check(t, c.change, dialtest.ServeDatagrams(t, "127.0.0.1", func(packet []byte) [][]byte {
			m := new(dns.Msg)
			if m.Unpack(packet) != nil {
				return nil
			}
			seen <- m
			return [][]byte{respond(packet, code(dns.RcodeRefused))}
		}))
		m := <-seen
		opt := m.IsEdns0()
		if m.RecursionDesired != c.rd || m.AuthenticatedData != c.ad || (opt != nil && opt.Do()) != c.do || (opt != nil) != c.do || m.Question[0].Name != "www.example.org." {
			t.Errorf("%s: asked %s", c.name, m)
		}
	}
}

// TestForged: what is not the answer to this question is passed over.
func TestForged(t *testing.T) {
	evil := func(m *dns.Msg) { records("www.example.org. 60 IN A 203.0.113.66")(m) }
	forged := map[string]func(packet []byte) []byte{
		"another number":   func(p []byte) []byte { return respond(p, func(m *dns.Msg) { evil(m); m.Id++ }) },
		"another question": func(p []byte) []byte { return respond(p, func(m *dns.Msg) { evil(m); m.Question[0].Name = "x." }) },
		"another type":     func(p []byte) []byte { return respond(p, func(m *dns.Msg) { evil(m); m.Question[0].Qtype = 28 }) },
		"two questions": func(p []byte) []byte {
			return respond(p, func(m *dns.Msg) { evil(m); m.Question = append(m.Question, m.Question[0]) })
		},
		"no question":       func(p []byte) []byte { return respond(p, func(m *dns.Msg) { evil(m); m.Question = nil }) },
		"itself a question": func(p []byte) []byte { return respond(p, func(m *dns.Msg) { evil(m); m.Response = false }) },
		"another operation": func(p []byte) []byte { return respond(p, func(m *dns.Msg) { evil(m); m.Opcode = dns.OpcodeNotify }) },
		"empty":             func([]byte) []byte { return nil },
		"half a header":     func(p []byte) []byte { return p[:7] },
		"cut":               func(p []byte) []byte { a := respond(p, evil); return a[:len(a)-3] },
		"a name in a circle": func(p []byte) []byte {
			a := respond(p, evil)
			return append(a[:12:12], 0xc0, 12, 0, 1, 0, 1)
		},
		"noise": func(p []byte) []byte { return append(p[:2:2], strings.Repeat("\xff", 600)...) },
	}
	for name, forge := range forged {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := func(c *config) { c.Expect = []string{"192.0.2.80"} }
			host := dialtest.ServeDatagrams(t, "127.0.0.1", func(p []byte) [][]byte { return [][]byte{forge(p), respond(p, records(www))} })
			verify(t, check(t, want, host)[0], monitors.Up, "")
			only := dialtest.ServeDatagrams(t, "127.0.0.1", func(p []byte) [][]byte { return [][]byte{forge(p)} })
			soon := func(c *config) { c.Timeout = monitors.Duration(200 * time.Millisecond) }
			verify(t, check(t, soon, only)[0], monitors.Down, "no answer within the timeout; ")
		})
	}
}

// TestLost: a question that is lost is asked again, with the same number.
func TestLost(t *testing.T) {
	var came atomic.Int32
	host := dialtest.ServeDatagrams(t, "127.0.0.1", func(packet []byte) [][]byte {
		if came.Add(1) < 3 {
			return nil
		}
		return [][]byte{respond(packet, records(www))}
	})
	got := check(t, func(c *config) { c.Timeout = monitors.Duration(time.Second) }, host)[0]
	verify(t, got, monitors.Up, "")
	if came.Load() != 3 || got.Timings.FirstByte <= 0 {
		t.Errorf("asked %d times, timings %s", came.Load(), got.Timings)
	}
}

func TestNoAnswer(t *testing.T) {
	soon := func(c *config) { c.Timeout = monitors.Duration(200 * time.Millisecond) }
	verify(t, check(t, soon, dialtest.ServeDatagrams(t, "::1", dialtest.Ignore))[0], monitors.Down, "no answer within the timeout")
	verify(t, check(t, nil, dialtest.RefusedDatagrams(t, "127.0.0.1"))[0], monitors.Down, "connection refused")
	flood := make([][]byte, 1100)
	verify(t, check(t, nil, dialtest.ServeDatagrams(t, "127.0.0.1", func([]byte) [][]byte { return flood }))[0], monitors.Down, "none was the answer")
	verify(t, check(t, nil, "127.0.0.1:x")[0], monitors.Unknown, "is not a number")
	verify(t, check(t, func(c *config) { c.Source = "192.0.2.1" }, "127.0.0.1")[0], monitors.Unknown, "source address")
}

// TestTruncated: the whole answer comes over TCP, from the same port.
func TestTruncated(t *testing.T) {
	truncated := func(m *dns.Msg) { m.Truncated = true }
	cut := func(packet []byte) [][]byte {
		a := respond(packet, func(m *dns.Msg) { records(www)(m); m.Truncated = true })
		return [][]byte{a[:len(a)-2]}
	}
	whole := func(c *config) { c.Expect = []string{"192.0.2.80"} }
	for _, address := range dialtest.Loopbacks() {
		entry := dialtest.Serve(t, address, stream("", records(www)))
		conn, err := net.ListenPacket("udp", entry)
		if err != nil {
			t.Fatal(err)
		}
		server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			truncated(m)
			_ = w.WriteMsg(m)
		})}
		ended := make(chan error, 1)
		go func() { ended <- server.ActivateAndServe() }()
		t.Cleanup(func() { _, _ = conn.Close(), <-ended })
		verify(t, check(t, whole, entry)[0], monitors.Up, "")
	}
	verify(t, check(t, whole, dialtest.ServeDatagrams(t, "127.0.0.1", cut))[0], monitors.Down, "the answer over UDP is truncated, and over TCP: ")
}

func TestStreams(t *testing.T) {
	authority := dialtest.NewAuthority(t)
	named := authority.Issue(t, 30*24*time.Hour, "ns.example.org")
	secure := func(handle func(net.Conn)) func(net.Conn) {
		return dialtest.Secure(&tls.Config{Certificates: []tls.Certificate{named}}, handle)
	}
	trusting := func(c *config) { c.Transport, c.CAFile, c.ServerName = "tls", authority.File, "ns.example.org" }
	soon := monitors.Duration(300 * time.Millisecond)
	const up, down = monitors.Up, monitors.Down
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
		change func(*config)
		want   monitors.Verdict
		reason string
	}{
		{"TCP", stream("", records(www)), nil, up, ""},
		{"after others", stream("\x00\x03abc\x00\x00", records(www)), nil, up, ""},
		{"another answer", stream("", code(dns.RcodeRefused)), nil, down, "answers REFUSED"},
		{"closed", dialtest.Say(""), nil, down, "connected, but "},
		{"cut", dialtest.Say("\x00\xffabc"), nil, down, "connected, but no whole answer: "},
		{"silent", dialtest.Hang, func(c *config) { c.Timeout = soon }, down, "connected, but no answer within the timeout"},
		{"flood", dialtest.Flood, nil, down, "no message of many was an answer"},
		{"TLS", secure(stream("", records(www))), trusting, up, ""},
		{"TLS, another name", secure(stream("", records(www))), func(c *config) { trusting(c); c.ServerName = "x.example.org" }, down, "not x.example.org"},
		{"TLS, certificate ends", secure(stream("", records(www))), func(c *config) { trusting(c); c.CertificateDays = 60 }, down, "in 29 days, wanted 60"},
		{"no TLS", stream("", records(www)), func(c *config) { trusting(c); c.Timeout = soon }, down, "connected, but "},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				change := func(conf *config) {
					conf.Transport = "tcp"
					if c.change != nil {
						c.change(conf)
					}
				}
				got := check(t, change, dialtest.Serve(t, address, c.handle))[0]
				verify(t, got, c.want, c.reason)
				if c.want == up && (got.Timings.Connect <= 0 || got.Timings.FirstByte <= 0) {
					t.Errorf("timings %+v", got.Timings)
				}
			})
		}
	}
}

// soa answers with a zone's serial number.
func soa(serial uint32) reply {
	return records(fmt.Sprintf("example.org. 60 IN SOA ns.example.org. host.example.org. %d 7200 3600 1209600 300", serial))
}

func TestSerials(t *testing.T) {
	const up, down, unknown = monitors.Up, monitors.Down, monitors.Unknown
	zone := func(change func(*config)) func(*config) {
		return func(c *config) { c.Query = "example.org"; change(c) }
	}
	same := func(c *config) { c.SameSerial = true }
	run := func(name string, change func(*config), answers []reply, want []monitors.Verdict, reason string) {
		t.Run(name, func(t *testing.T) {
			var hosts []string
			for _, a := range answers {
				hosts = append(hosts, serve(t, "127.0.0.1", a))
			}
			for i, h := range check(t, zone(change), hosts...) {
				text := reason
				if want[i] == up {
					text = ""
				}
				verify(t, h, want[i], text)
			}
		})
	}
	run("same", same, []reply{soa(5), soa(5)}, []monitors.Verdict{up, up}, "")
	run("one lags", same, []reply{soa(5), soa(7), soa(7)}, []monitors.Verdict{down, up, up}, "has the serial number 5, wanted 7, which 127.0.0.1:")
	run("within the threshold", func(c *config) { c.SameSerial, c.SerialThreshold = true, 2 }, []reply{soa(5), soa(7)}, []monitors.Verdict{up, up}, "")
	run("beyond it", func(c *config) { c.SameSerial, c.SerialThreshold = true, 2 }, []reply{soa(4), soa(7)}, []monitors.Verdict{down, up}, ", or within 2 of it")
	run("wrapped around", same, []reply{soa(4294967295), soa(3)}, []monitors.Verdict{down, up}, "has the serial number 4294967295, wanted 3")
	run("one fails", same, []reply{code(dns.RcodeRefused), soa(3)}, []monitors.Verdict{down, up}, "answers REFUSED")
	run("all fail", same, []reply{code(dns.RcodeRefused)}, []monitors.Verdict{down}, "answers REFUSED")
	run("not by authority", same, []reply{func(m *dns.Msg) { soa(3)(m); m.Authoritative = false }}, []monitors.Verdict{down}, "is not authoritative")

	master, behind := serve(t, "127.0.0.1", soa(9)), serve(t, "127.0.0.1", soa(8))
	dead := dialtest.RefusedDatagrams(t, "127.0.0.1")
	masters := func(entries ...string) func(*config) { return func(c *config) { c.Master = entries } }
	run("master", masters(master), []reply{soa(9), soa(8), soa(10)}, []monitors.Verdict{up, down, down}, ", wanted 9, which "+master)
	run("newest master", masters(behind, dead, master), []reply{soa(9), soa(8)}, []monitors.Verdict{up, down}, ", wanted 9, which "+master)
	run("no master", masters(dead), []reply{soa(9), soa(8)}, []monitors.Verdict{unknown, unknown}, "could not test: no master tells its serial number: "+dead)
	run("no master, and a host is down", masters(dead), []reply{code(dns.RcodeRefused)}, []monitors.Verdict{down}, "answers REFUSED")
}

// TestSerialsUnreached: a run that ends early finds no host down.
func TestSerialsUnreached(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	mute := dialtest.ServeDatagrams(t, "127.0.0.1", dialtest.Ignore)
	m := mustBuild(t, func(c *config) { c.Query, c.Master = "example.org", []string{mute} })
	r, err := m.Check(ctx, monitors.Request{Hosts: []string{serve(t, "127.0.0.1", soa(1))}})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, r.Hosts[0], monitors.Unknown, "no master tells")
}

// TestSilentHostsKeepNoMasterWaiting: masters are asked first, for a run may be over
// before all hosts are.
func TestSilentHostsKeepNoMasterWaiting(t *testing.T) {
	ctx := timeup.New(t.Context())
	good, mute := serve(t, "127.0.0.1", soa(1)), dialtest.ServeDatagrams(t, "127.0.0.1", func([]byte) [][]byte {
		ctx.End() // The run is over while this host, the last, is asked.
		return nil
	})
	m := mustBuild(t, func(c *config) {
		c.Query, c.Master, c.Limit, c.Timeout = "example.org", []string{serve(t, "127.0.0.1", soa(1))}, 1, monitors.Duration(time.Minute)
	})
	r, err := m.Check(ctx, monitors.Request{Hosts: []string{good, mute}})
	if err != nil {
		t.Fatal(err)
	}
	verify(t, r.Hosts[0], monitors.Up, "")
	verify(t, r.Hosts[1], monitors.Unknown, "run's deadline")
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"port", func(c *config) { c.Port = 65536 }, "1 to 65535"},
		{"timeout", func(c *config) { c.Timeout = 0 }, "write a duration"},
		{"limit", func(c *config) { c.Limit = 0 }, "write 1 or more"},
		{"ip", func(c *config) { c.IP = "5" }, "no address family"},
		{"query", func(c *config) { c.Query = "" }, "is missing"},
		{"query", func(c *config) { c.Query = "a..b" }, "no domain name"},
		{"query", func(c *config) { c.Query = "a b" }, "no domain name"},
		{"query", func(c *config) { c.Query = strings.Repeat("a", 64) + ".org" }, "no domain name"},
		{"query", func(c *config) { c.Query = "bücher.example" }, "xn--"},
		{"query", func(c *config) { c.Query, c.Record = "192.0.2.1", "A" }, "PTR records only"},
		{"record", func(c *config) { c.Record = "AX" }, "no type of records"},
		{"record", func(c *config) { c.Record = "AXFR" }, "no type of records"},
		{"record", func(c *config) { c.Record = "ANY" }, "no type of records"},
		{"record", func(c *config) { c.Record = "TYPE65536" }, "no type of records"},
		{"record", func(c *config) { c.Record, c.SameSerial = "A", true }, "no serial number"},
		{"transport", func(c *config) { c.Transport = "https" }, `"udp", "tcp" or "tls"`},
		{"ca_file", func(c *config) { c.CAFile = "/x" }, `transport = "tls"`},
		{"ca_file", func(c *config) { c.Transport, c.CAFile = "tls", "/nonexistent/x" }, "no such file"},
		{"expect", func(c *config) { c.Expect = []string{"www.example.org"} }, "write an IPv4 address"},
		{"expect", func(c *config) { c.Expect = []string{"192.0.2.1\nx. A 192.0.2.2"} }, "no data of a record"},
		{"expect", func(c *config) { c.Expect = []string{""} }, "no data of a record"},
		{"expect", func(c *config) { c.Record, c.Expect = "MX", []string{"mx.example.org"} }, "preference and name"},
		{"expect", func(c *config) { c.Expect, c.Rcode = []string{"192.0.2.1"}, "NXDOMAIN" }, "brings no records"},
		{"expect_regexp", func(c *config) { c.ExpectRegexp = "(" }, "RE2"},
		{"match", func(c *config) { c.Match, c.Expect = "some", []string{"192.0.2.1"} }, `"all", "any" or "only"`},
		{"match", func(c *config) { c.Match = "only" }, "no use without expect"},
		{"rcode", func(c *config) { c.Rcode = "BADVERS" }, "no status"},
		{"master", func(c *config) { c.Master = []string{"http://x"} }, "neither name:port"},
		{"same_serial", func(c *config) { c.Master, c.SameSerial = []string{"ns"}, true }, "alternative to master"},
		{"serial_threshold", func(c *config) { c.SerialThreshold = 1 }, "no use without master"},
		{"serial_threshold", func(c *config) { c.SerialThreshold = -1 }, "out of range"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		var key *plugin.KeyError
		if !errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.text) {
			t.Errorf("got %v, want key %s and %q", err, c.key, c.text)
		}
	}
	p, err := newProbe(configured(t, func(c *config) { c.Transport = "tls" }))
	if err != nil || p.Port != 853 {
		t.Errorf("the port for tls: got %v, %v, want 853", p, err)
	}
}

// FuzzAnswer: no packet does more harm than to be no answer.
func FuzzAnswer(f *testing.F) {
	question := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeTXT)
	packet, err := question.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(respond(packet, records(`www.example.org. 60 IN TXT "a\"\200" b`)))
	f.Add(respond(packet, records("www.example.org. 60 IN CNAME a.", "a. 60 IN TXT x")))
	f.Add(respond(packet, code(dns.RcodeServerFailure)))
	p, err := newProbe(configured(f, func(c *config) { c.Record, c.Expect, c.Match = "TXT", []string{"x"}, "only" }))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) > 1 {
			binary.BigEndian.PutUint16(packet, question.Id)
		}
		m, ok := answers(question, packet)
		if !ok {
			return
		}
		if err := p.wish.judge(m); err != nil && (len(err.Error()) > 4000 || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Errorf("a reason of %d bytes: %.300q", len(err.Error()), err)
		}
	})
}
