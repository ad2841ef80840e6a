package period

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// A SyntaxError says what is wrong with a period, and what would be accepted.
type SyntaxError struct {
	Spec string
	// Offset is the byte of Spec at which the trouble begins.
	Offset int
	Msg    string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("period %q: %s (at offset %d)", e.Spec, e.Msg, e.Offset)
}

// blanks are what Perl's \s matches.
const blanks = " \t\n\v\f\r"

// Parse reads a period; see the package comment for the language. The error is a
// [*SyntaxError].
func Parse(spec string) (Period, error) {
	p := parser{spec: spec, text: lower(spec)}
	written := strings.Trim(spec, blanks)
	switch strings.Trim(p.text, blanks) {
	case "":
		return Period{}, nil
	case "none":
		return Period{spec: written, restricted: true}, nil
	}
	subs, err := p.subPeriods()
	if err != nil {
		return Period{}, err
	}
	return Period{spec: written, restricted: true, subs: subs}, nil
}

// lower lowers ASCII letters only, and so keeps every offset.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

type parser struct {
	spec, text string
}

func (p parser) errorf(offset int, format string, args ...any) error {
	return &SyntaxError{Spec: p.spec, Offset: offset, Msg: fmt.Sprintf(format, args...)}
}

// A part is a piece of the text that knows where it stands.
type part struct {
	text string
	at   int
}

// cut splits off the first n bytes.
func (s part) cut(n int) (head, tail part) {
	return part{s.text[:n], s.at}, part{s.text[n:], s.at + n}
}

func (s part) trim() part {
	_, s = s.cut(len(s.text) - len(strings.TrimLeft(s.text, blanks)))
	s.text = strings.TrimRight(s.text, blanks)
	return s
}

// subPeriods splits at the commas. Like Perl's split it drops empty fields at
// the end; a period of nothing but commas thus contains no time.
func (p parser) subPeriods() ([]subPeriod, error) {
	var fields []part
	rest := part{text: p.text}
	for {
		comma := strings.IndexByte(rest.text, ',')
		if comma < 0 {
			fields = append(fields, rest.trim())
			break
		}
		head, tail := rest.cut(comma)
		fields = append(fields, head.trim())
		_, rest = tail.cut(1)
	}
	for len(fields) > 0 && fields[len(fields)-1].text == "" {
		fields = fields[:len(fields)-1]
	}
	subs := make([]subPeriod, 0, len(fields))
	for _, f := range fields {
		sub, err := p.subPeriod(f)
		if err != nil {
			return nil, err
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

// subPeriod reads "scale {range range} scale {range}".
func (p parser) subPeriod(rest part) (subPeriod, error) {
	if rest.text == "" {
		return nil, p.errorf(rest.at, `nothing before the comma: write a scale with its ranges, like "wd {Mon-Fri}"`)
	}
	var sub subPeriod
	for rest.text != "" {
		s, inside, after, err := p.scaleAndBraces(rest)
		if err != nil {
			return nil, err
		}
		ranges, err := p.ranges(s, inside)
		if err != nil {
			return nil, err
		}
		sub = sub.add(s, ranges)
		rest = after
	}
	return sub, nil
}

// add joins the ranges to those that the scale has already.
func (s subPeriod) add(of scale, ranges []span) subPeriod {
	if i := slices.IndexFunc(s, func(sr scaleRanges) bool { return sr.scale == of }); i >= 0 {
		s[i].ranges = append(s[i].ranges, ranges...)
		return s
	}
	return append(s, scaleRanges{of, ranges})
}

// scaleAndBraces splits "wd {Mon Tue} hr {9}" into the scale wd, what is between
// its braces, and the rest.
func (p parser) scaleAndBraces(rest part) (s scale, inside, after part, err error) {
	letters := len(rest.text) - len(strings.TrimLeft(rest.text, "abcdefghijklmnopqrstuvwxyz"))
	word, tail := rest.cut(letters)
	tail = tail.trim()
	if word.text == "" {
		return 0, inside, after, p.errorf(rest.at, "%q where a scale is expected: %s", firstRune(rest.text), knownScales())
	}
	s, ok := scaleNamed(word.text)
	if !ok {
		return 0, inside, after, p.errorf(rest.at, "unknown scale %q: %s", p.spec[word.at:word.at+letters], knownScales())
	}
	if !strings.HasPrefix(tail.text, "{") {
		return 0, inside, after, p.errorf(tail.at, `no braces after the scale %q: write its ranges in them, like "%s {%d-%d}"`,
			word.text, word.text, scales[s].first, min(scales[s].last, 99))
	}
	_, tail = tail.cut(1)
	end := strings.IndexAny(tail.text, "{}")
	if end < 0 || tail.text[end] == '{' {
		return 0, inside, after, p.errorf(tail.at-1, `"{" without its "}": ranges inside the braces are separated by blanks, not commas`)
	}
	inside, after = tail.cut(end)
	_, after = after.cut(1)
	return s, inside, after.trim(), nil
}

func firstRune(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return s[:size]
}

func knownScales() string {
	var names []string
	for _, rule := range scales {
		names = append(names, rule.long+" ("+rule.code+")")
	}
	return "accepted are " + strings.Join(names, ", ")
}

// aroundDash finds blanks around the dash of a range.
var aroundDash = regexp.MustCompile(`(\w+)[\s\v]*-[\s\v]*(\w+)`)

// ranges reads what is between a scale's braces. None is allowed and contains
// no time.
func (p parser) ranges(s scale, inside part) ([]span, error) {
	var ranges []span
	for _, word := range words(inside) {
		r, err := p.span(s, word)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// words splits at blanks, but drops those around a range's dash.
func words(inside part) []part {
	glued := make([]bool, len(inside.text))
	for _, m := range aroundDash.FindAllStringSubmatchIndex(inside.text, -1) {
		for i := m[3]; i < m[4]; i++ {
			glued[i] = true
		}
	}
	var list []part
	var word []byte
	start := 0
	for i := range len(inside.text) + 1 {
		switch {
		case i == len(inside.text) || strings.IndexByte(blanks, inside.text[i]) >= 0 && !glued[i]:
			if len(word) > 0 {
				list = append(list, part{string(word), inside.at + start})
			}
			word = nil
		case strings.IndexByte(blanks, inside.text[i]) < 0:
			if len(word) == 0 {
				start = i
			}
			word = append(word, inside.text[i])
		}
	}
	return list
}

// span reads "v" or "v-v". The last dash divides, so that "jan-feb-mar" is
// January to March, since only the first letters of a month count.
func (p parser) span(s scale, word part) (span, error) {
	dash := strings.LastIndexByte(word.text, '-')
	if dash < 0 {
		v, err := p.value(s, word.text, word)
		return span{v, v}, err
	}
	first, last := word.text[:dash], word.text[dash+1:]
	if first == "" || last == "" {
		return span{}, p.errorf(word.at, `%q is no range: write two values with a dash between, like "%d-%d"`,
			word.text, scales[s].first, min(scales[s].last, 99))
	}
	from, err := p.value(s, first, word)
	if err != nil {
		return span{}, err
	}
	to, err := p.value(s, last, word)
	return span{from, to}, err
}

func (p parser) value(s scale, text string, word part) (int, error) {
	v, ok := s.value(text)
	if !ok {
		return 0, p.errorf(word.at, "%q is no %s: accepted are %s", text, scales[s].long, scales[s].accepts)
	}
	return v, nil
}
