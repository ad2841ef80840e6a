package dns

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/monitord/monitord/internal/dial"
)

// judge decides whether an answer is as wanted.
func (w *wish) judge(m *dns.Msg) error {
	if m.Rcode != w.rcode {
		return fmt.Errorf("answers %s for %s, wanted %s%s", status(m.Rcode), w, dns.RcodeToString[w.rcode], extended(m))
	}
	records := w.records(m)
	switch {
	case m.Rcode == dns.RcodeSuccess && len(records) == 0:
		return w.nothing(m)
	case w.authoritative && !m.Authoritative:
		return fmt.Errorf("the answer for %s is not authoritative: the host is no name server of that zone (a lame delegation), or answers from a cache", w)
	case w.dnssec && !m.AuthenticatedData && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError):
		return fmt.Errorf("the answer for %s is not authenticated (AD): the zone is not signed, or the host does not validate%s", w, extended(m))
	}
	return w.compare(records)
}

func (w *wish) String() string {
	return strings.TrimSuffix(w.question.Name, ".") + " " + typeName(w.question.Qtype)
}

// status names a response code, with what it means where its name does not say it.
func status(code int) string {
	name, known := dns.RcodeToString[code]
	switch {
	case !known:
		return "status " + strconv.Itoa(code)
	case code == dns.RcodeNameError:
		return name + " (no such name)"
	case code == dns.RcodeRefused:
		return name + " (it does not serve this zone, or not us)"
	}
	return name
}

// extended returns the reason that a server may give for a failure (RFC 8914).
func extended(m *dns.Msg) string {
	opt := m.IsEdns0()
	if opt == nil {
		return ""
	}
	for _, option := range opt.Option {
		if e, ok := option.(*dns.EDNS0_EDE); ok {
			text := dns.ExtendedErrorCodeToString[e.InfoCode]
			if e.ExtraText != "" {
				text += ": " + dial.Clean(e.ExtraText, 200)
			}
			return fmt.Sprintf(" (extended error %d, %s)", e.InfoCode, text)
		}
	}
	return ""
}

// records returns the records of the asked type that are about the asked name, or
// about the one that it is an alias of. Others a server may add, and they prove
// nothing.
func (w *wish) records(m *dns.Msg) []dns.RR {
	name := w.canonical(m)
	var found []dns.RR
	for _, record := range m.Answer {
		h := record.Header()
		if h.Rrtype == w.question.Qtype && h.Class == w.question.Qclass && sameName(h.Name, name) {
			found = append(found, record)
		}
	}
	return found
}

// canonical follows the aliases of the asked name, each at most once.
func (w *wish) canonical(m *dns.Msg) string {
	name := w.question.Name
	if w.question.Qtype == dns.TypeCNAME {
		return name
	}
	for range m.Answer {
		i := slices.IndexFunc(m.Answer, func(r dns.RR) bool {
			return r.Header().Rrtype == dns.TypeCNAME && sameName(r.Header().Name, name)
		})
		if i < 0 {
			break
		}
		alias, ok := m.Answer[i].(*dns.CNAME)
		if !ok {
			break
		}
		name = alias.Target
	}
	return name
}

func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// nothing words an answer without a record that was asked for.
func (w *wish) nothing(m *dns.Msg) error {
	zone := ""
	for _, record := range m.Ns {
		if record.Header().Rrtype == dns.TypeNS {
			zone = dial.Clean(record.Header().Name, 260)
		}
	}
	alias := w.canonical(m)
	switch {
	case zone != "" && !m.Authoritative && m.RecursionDesired && !m.RecursionAvailable:
		return fmt.Errorf("the host has no answer for %s and offers no recursion; it refers to the name servers of %q", w, zone)
	case zone != "" && !m.Authoritative:
		return fmt.Errorf("the host does not serve %s, and refers to the name servers of %q (a lame delegation)", w, zone)
	case !sameName(alias, w.question.Name):
		return fmt.Errorf("%s is an alias of %s, and no %s record of that is in the answer", w, dial.Clean(alias, 260), typeName(w.question.Qtype))
	}
	return fmt.Errorf("the answer has no record for %s", w)
}

// compare judges the records, of which there is at least one if any are wanted.
func (w *wish) compare(records []dns.RR) error {
	var missing []string
	for i := range w.expect {
		if !slices.ContainsFunc(records, func(r dns.RR) bool { return w.equal(i, r) }) {
			missing = append(missing, w.text[i])
		}
	}
	extra := slices.ContainsFunc(records, func(r dns.RR) bool {
		return !slices.ContainsFunc(w.indices(), func(i int) bool { return w.equal(i, r) })
	})
	switch {
	case w.match == matchAny && len(w.expect) > 0 && len(missing) == len(w.expect):
		return fmt.Errorf("%s: none of %s is in the answer: %s", w, list(w.text), w.list(records))
	case w.match != matchAny && len(missing) > 0:
		return fmt.Errorf("%s: %s is not in the answer: %s", w, list(missing), w.list(records))
	case w.match == matchOnly && extra:
		return fmt.Errorf("%s: more than %s is in the answer: %s", w, list(w.text), w.list(records))
	case w.regexp != nil && !slices.ContainsFunc(records, func(r dns.RR) bool { return w.regexp.MatchString(data(r)) }):
		return fmt.Errorf("%s: no match of %q is in the answer: %s", w, w.regexp, w.list(records))
	}
	return nil
}

func (w *wish) indices() []int {
	all := make([]int, len(w.expect))
	for i := range all {
		all[i] = i
	}
	return all
}

// equal compares one of the expected records with one of the answer: names without
// regard to case, and TXT by the text.
func (w *wish) equal(i int, record dns.RR) bool {
	if w.expect[i] == nil {
		return data(record) == w.text[i]
	}
	own := dns.Copy(record)
	own.Header().Name = w.question.Name // It may be that of an alias.
	return dns.IsDuplicate(w.expect[i], own)
}

// data is a record without its name, type and time to live: a TXT record's strings
// in one piece, others as in a zone's file.
func data(record dns.RR) string {
	switch r := record.(type) {
	case *dns.TXT:
		return unescape(strings.Join(r.Txt, ""))
	case *dns.RFC3597: // Its String is a whole line, with numbers for class and type.
		return fmt.Sprintf(`\# %d %s`, len(r.Rdata)/2, r.Rdata)
	}
	return strings.TrimPrefix(record.String(), record.Header().String())
}

// unescape undoes \X and \DDD (RFC 1035, 5.1), as which the library keeps strings.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out.WriteByte(text[i])
			continue
		}
		i++
		if i+3 <= len(text) {
			if n, err := strconv.ParseUint(text[i:i+3], 10, 8); err == nil {
				out.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// shown bounds how many records a reason lists.
const shown = 5

func (w *wish) list(records []dns.RR) string {
	texts := make([]string, len(records))
	for i, r := range records {
		texts[i] = data(r)
	}
	slices.Sort(texts) // Servers rotate them, and a reason should stay the same.
	return list(texts)
}

func list(texts []string) string {
	var out []string
	for i, text := range texts {
		if i == shown {
			out = append(out, fmt.Sprintf("and %d more", len(texts)-shown))
			break
		}
		out = append(out, strconv.Quote(dial.Clean(text, 120)))
	}
	return strings.Join(out, ", ")
}

var errNoSerial = errors.New("the answer has no serial number")

// serial returns the serial number of an answer about a zone, which judge accepted.
func (w *wish) serial(m *dns.Msg) (uint32, error) {
	for _, record := range w.records(m) {
		if soa, ok := record.(*dns.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, errNoSerial
}
