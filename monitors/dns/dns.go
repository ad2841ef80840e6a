// Package dns is the monitor "dns": it asks each host, a name server, a question
// and judges the answer.
//
//	monitor = { type = "dns", query = "www.example.org", expect = ["192.0.2.80"] }
//	monitor = { type = "dns", query = "example.org", record = "MX", expect = ["10 mx.example.org"], match = "only" }
//	monitor = { type = "dns", query = "example.org", record = "TXT", expect_regexp = "^v=spf1 .* -all$" }
//	monitor = { type = "dns", query = "192.0.2.80", expect = ["www.example.org"], authoritative = true }
//	monitor = { type = "dns", query = "no-such-name.example.org", rcode = "NXDOMAIN" }
//	monitor = { type = "dns", query = "example.org", master = ["ns1.example.org"], serial_threshold = 5 }
//
// A host is up when it answered within the timeout, with the wanted status and
// records; down when it refused, was silent or answered otherwise; unknown when it
// could not be asked, because its own name could not be resolved or this machine has
// no route, no such source address or no socket left.
//
// Records count if they are of the asked type and about the asked name, or the one
// that it is an alias of. expect has them as they stand in a zone's file, a TXT
// record as its plain text, in one piece and without quotes. Without expect any
// record will do, and none is down.
//
// Over UDP the question goes out up to four times within the timeout, and an answer
// counts if it comes from the port that was asked, with the question's random
// number and the question in it; all others are passed over. A truncated answer is
// asked for again over TCP.
//
// With master, or same_serial, the hosts are compared by the serial number of the
// zone: it must be the newest that a master has, or one of the hosts. Such answers
// have to be authoritative, and are asked for without recursion. If no master
// answers the hosts that do are unknown. Serial numbers are compared as RFC 1982
// says, so one that has wrapped around is newer.
//
// Of mon's dns.monitor, -zone is query, -master and -serial_threshold are the same,
// and a second zone is a watch of its own. -caching_only -query NAME:TYPE is query
// and record, and -tcp is transport = "tcp".
//
// Defaults: port 53, with tls 853; record A, of an address PTR, with master or
// same_serial SOA; match all, rcode NOERROR, recursion true, transport udp, verify
// true, timeout 5s, limit 32, ip any.
package dns

import (
	"context"
	"time"

	"github.com/monitord/monitord/monitors"
)

type config struct {
	Port    int               `toml:"port" doc:"Port, 1 to 65535, of hosts that name none of their own; default 53, with tls 853."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take in all; default 5s."`
	Limit   int               `toml:"limit" doc:"How many hosts are asked at once; default 32."`
	Source  string            `toml:"source" doc:"Address of this machine to ask from; default is the kernel's choice."`
	IP      string            `toml:"ip" doc:"Address family of names: \"any\", \"4\" or \"6\"; default any."`

	Query     string `toml:"query" doc:"The name to ask about, or an address to ask for the name of; no default."`
	Record    string `toml:"record" doc:"Type of the records to ask for, like \"AAAA\", \"MX\" or \"TYPE65\"; default A, of an address PTR, with master or same_serial SOA."`
	Recursion bool   `toml:"recursion" doc:"Whether to ask for recursion; default true."`
	Transport string `toml:"transport" doc:"How to ask: \"udp\", and over TCP if the answer is truncated, \"tcp\" or \"tls\"; default udp."`

	Expect        []string `toml:"expect" doc:"Records that must be in the answer, written as in a zone's file, TXT as plain text; default none, any record will do."`
	Match         string   `toml:"match" doc:"What must be there of expect: \"all\" of it, \"any\" of it, or \"only\": all, and nothing else; default all."`
	ExpectRegexp  string   `toml:"expect_regexp" doc:"Regular expression (RE2) that a record must match, written as for expect; default none."`
	Rcode         string   `toml:"rcode" doc:"Status that the answer must have, like \"NXDOMAIN\" or \"REFUSED\"; default NOERROR."`
	Authoritative bool     `toml:"authoritative" doc:"Whether the answer must be authoritative (AA); default false."`
	DNSSEC        bool     `toml:"dnssec" doc:"Whether the host must have authenticated the answer by DNSSEC (AD), which resolvers do; default false."`

	Master          []string `toml:"master" doc:"Name servers whose newest serial number of the zone the hosts must have; default none."`
	SameSerial      bool     `toml:"same_serial" doc:"Whether the hosts must have the newest serial number of the zone that one of them has; default false."`
	SerialThreshold int      `toml:"serial_threshold" doc:"How far a serial number may be off, in counts; default 0."`

	ServerName      string `toml:"server_name" doc:"Name for SNI that the certificate must be for, with tls; default is the host's name."`
	Verify          bool   `toml:"verify" doc:"Whether the certificate must be valid for the name and from a known issuer, with tls; default true."`
	CAFile          string `toml:"ca_file" doc:"PEM file of the issuers to trust instead of the system's, with tls; default none."`
	CertificateDays int    `toml:"certificate_days" doc:"How many days the certificate must be good for, with tls; default 0, not looked at."`
}

func init() {
	monitors.Register("dns", config{
		Timeout: monitors.Duration(5 * time.Second), Limit: 32, IP: "any",
		Recursion: true, Transport: "udp", Match: "all", Rcode: "NOERROR", Verify: true,
	}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	p, err := newProbe(c)
	if err != nil {
		return nil, err
	}
	if p.serials {
		return &comparison{probe: p}, nil
	}
	return monitors.EachHost(c.Limit, c.Timeout.Std(), func(ctx context.Context, host string, took *monitors.Timings) error {
		_, err := p.ask(ctx, host, took)
		return err
	}), nil
}
