// Package syslog writes messages for syslog as RFC 5424 and RFC 3164 have them, and
// takes them to the local socket or to a server by UDP (RFC 5426), TCP (RFC 6587, octet
// counting) or TLS (RFC 5425).
//
// The standard library's log/syslog knows the local socket and an old format only.
package syslog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Facility says what kind of program a message is from (RFC 5424, table 1).
type Facility int

var facilities = [...]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	12: "ntp", 13: "security", 14: "console", 15: "clock",
	16: "local0", 17: "local1", 18: "local2", 19: "local3", 20: "local4", 21: "local5", 22: "local6", 23: "local7",
}

// ParseFacility reads a name as in syslog.conf, in either case, with or without "log_"
// before it.
func ParseFacility(name string) (Facility, error) {
	i := slices.Index(facilities[:], strings.TrimPrefix(strings.ToLower(name), "log_"))
	if i < 0 {
		return 0, fmt.Errorf("%q is no facility: write \"daemon\", \"user\", \"local0\" to \"local7\", or another of syslog's names", name)
	}
	return Facility(i), nil
}

func (f Facility) String() string {
	if f >= 0 && int(f) < len(facilities) {
		return facilities[f]
	}
	return fmt.Sprintf("facility %d", int(f))
}

// A Severity says how bad it is (RFC 5424, table 2).
type Severity int

// The severities, the worst first.
const (
	Emergency Severity = iota
	Alert
	Critical
	Error
	Warning
	Notice
	Info
	Debug
)

var severities = [...]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// ParseSeverity reads a name as in syslog.conf, in either case.
func ParseSeverity(name string) (Severity, error) {
	i := slices.Index(severities[:], strings.ToLower(name))
	if i < 0 {
		return 0, fmt.Errorf("%q is no severity: write one of \"%s\"", name, strings.Join(severities[:], `", "`))
	}
	return Severity(i), nil
}

func (s Severity) String() string {
	if s >= 0 && int(s) < len(severities) {
		return severities[s]
	}
	return fmt.Sprintf("severity %d", int(s))
}

// A Message is one line for syslog. Whatever the texts hold, the message is one line,
// is valid UTF-8, and has its fields where they belong.
type Message struct {
	Facility Facility
	Severity Severity
	Time     time.Time // zero: not known
	Hostname string
	// App is the program's name, what RFC 3164 calls the tag.
	App string
	// PID is the process; 0: not told.
	PID int
	// ID is the kind of the message; RFC 3164 has no place for it.
	ID   string
	Text string
}

// A Format writes a message in at most limit bytes.
type Format func(m Message, limit int) []byte

// RFC5424 is the format of today.
func RFC5424(m Message, limit int) []byte {
	at, pid := "-", ""
	if !m.Time.IsZero() {
		at = m.Time.Format("2006-01-02T15:04:05.000000Z07:00") // six digits are the most (6.2.3)
	}
	if m.PID > 0 {
		pid = strconv.Itoa(m.PID)
	}
	head := fmt.Sprintf("%s1 %s %s %s %s %s - ", m.priority(), at, field(m.Hostname, 255), field(m.App, 48), field(pid, 128), field(m.ID, 32))
	return fit(head, m.Text, limit)
}

// RFC3164 is the format of old, with the short name of the host (4.1.2).
func RFC3164(m Message, limit int) []byte {
	host, _, _ := strings.Cut(m.Hostname, ".")
	if strings.Trim(m.Hostname, "0123456789.") == "" || strings.Contains(m.Hostname, ":") {
		host = m.Hostname // an address
	}
	return fit(m.priority()+m.stamp()+" "+field(host, 255)+" "+m.tag(), m.Text, limit)
}

// Local is what syslog(3) writes to the local socket: without a host.
func Local(m Message, limit int) []byte {
	return fit(m.priority()+m.stamp()+" "+m.tag(), m.Text, limit)
}

func (m Message) priority() string {
	return "<" + strconv.Itoa(int(m.Facility)*8+int(m.Severity)) + ">"
}

// stamp is the time as RFC 3164 has it, of which there must be one.
func (m Message) stamp() string { return m.Time.Local().Format(time.Stamp) }

func (m Message) tag() string {
	tag := field(m.App, 32)
	if m.PID > 0 {
		tag += "[" + strconv.Itoa(m.PID) + "]"
	}
	return tag + ": "
}

// field makes a text printable ASCII without blanks, at most so long; "-" for none.
func field(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), limit)]
}

// fit puts the text on one line behind the head, and cuts it between characters.
func fit(head, text string, limit int) []byte {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	all := head + strings.TrimRight(text, " ")
	if len(all) <= limit {
		return []byte(all)
	}
	end := limit
	for end > len(head) && !utf8.RuneStart(all[end]) {
		end--
	}
	return []byte(all[:max(end, 0)])
}
