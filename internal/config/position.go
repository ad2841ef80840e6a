package config

import (
	"bytes"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// A source is the text of a file.
type source struct {
	name string // as it stands in messages
	text []byte
	// lines are the offsets at which lines begin.
	lines []int
}

func newSource(name string, text []byte) *source {
	s := &source{name: name, text: text, lines: []int{0}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// place returns the place of a byte of the text.
func (s *source) place(offset int) place {
	offset = min(max(offset, 0), len(s.text))
	line, found := slices.BinarySearch(s.lines, offset)
	if !found {
		line--
	}
	return place{s, line + 1, utf8.RuneCount(s.text[s.lines[line]:offset]) + 1}
}

// A place is a line and a column of a file, both from 1; the column counts
// characters.
type place struct {
	in           *source
	line, column int
}

func (p place) problem(message string) Problem {
	return Problem{File: p.in.name, Line: p.line, Column: p.column, Message: message}
}

// A spot is where a key and its value stand in a text: the tree of them has the
// shape of the document. BurntSushi's parser, which reads the values, does not
// tell where it found them.
type spot struct {
	key, value int // offsets; of a list's element both are where it begins
	// plain is true for a string that is written exactly as it is read, so that
	// offsets in it are offsets in the text.
	plain    bool
	children map[string]*spot
	elements []*spot
	// header is true for the tables of a list that is written as [[name]].
	header bool
	// defined is true if the text says it itself, and not only something in it.
	defined bool
}

// child returns the spot of a key, which is made if need be.
func (s *spot) child(key string, offset int) *spot {
	c := s.children[key]
	if c == nil {
		c = &spot{key: offset, value: offset}
		if s.children == nil {
			s.children = map[string]*spot{}
		}
		s.children[key] = c
	}
	return c
}

// last is where keys below a header go: into the last table of a list of them.
func (s *spot) last() *spot {
	if s.header && len(s.elements) > 0 {
		return s.elements[len(s.elements)-1]
	}
	return s
}

// A twice is a key that is written a second time in one table.
type twice struct {
	name          string
	first, second int
}

// A spotter makes the tree of spots.
type spotter struct {
	parser  unstable.Parser
	text    []byte
	root    *spot
	current *spot
	// deepest is where lists and tables are nested deeper than maxNesting, or -1.
	deepest int
	// repeated is the first key that is written twice.
	repeated *twice
}

// maxNesting bounds how deep lists, tables and dotted keys may nest. The
// configuration needs 6; the parser of the values recurses without a bound.
const maxNesting = 50

// A spotting is the result of findSpots.
type spotting struct {
	root     *spot
	deepest  int
	repeated *twice
	// err is a mistake in the syntax and errAt its offset.
	err   error
	errAt int
}

func findSpots(text []byte) spotting {
	s := spotter{text: text, root: &spot{}, deepest: -1}
	s.current = s.root
	s.parser.Reset(text)
	for s.parser.NextExpression() {
		s.expression(s.parser.Expression())
	}
	found := spotting{root: s.root, deepest: s.deepest, repeated: s.repeated, err: s.parser.Error()}
	if at, ok := errors.AsType[*unstable.ParserError](found.err); ok {
		found.errAt = cap(text) - cap(at.Highlight)
	}
	return found
}

func (s *spotter) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table, unstable.ArrayTable:
		s.header(n)
	case unstable.KeyValue:
		s.keyValue(s.current, n, 1)
	default:
	}
}

// header takes [a.b] or [[a.b]].
func (s *spotter) header(n *unstable.Node) {
	parent := s.root
	keys := keysOf(n)
	s.checkDepth(len(keys), keys[0].offset)
	start := s.bracket(keys[0].offset)
	for _, k := range keys[:len(keys)-1] {
		parent = parent.child(k.name, start).last()
	}
	name := keys[len(keys)-1]
	old := parent.children[name.name]
	if old != nil && old.defined && (n.Kind == unstable.Table || !old.header) {
		s.repeat(name.name, old.key, name.offset)
	}
	table := parent.child(name.name, start)
	if n.Kind == unstable.ArrayTable {
		table.header = true
		table.elements = append(table.elements, &spot{key: start, value: start})
	}
	table.defined = true
	s.current = table.last()
}

// bracket returns the offset of the bracket or brackets before a header's key.
func (s *spotter) bracket(key int) int {
	for key > 0 && bytes.IndexByte([]byte("[ \t"), s.text[key-1]) >= 0 {
		key--
	}
	for s.text[key] != '[' {
		key++
	}
	return key
}

func (s *spotter) keyValue(table *spot, n *unstable.Node, depth int) {
	keys := keysOf(n)
	s.checkDepth(depth+len(keys), keys[0].offset)
	for _, k := range keys[:len(keys)-1] {
		table = table.child(k.name, k.offset)
	}
	name := keys[len(keys)-1]
	if old := table.children[name.name]; old != nil {
		s.repeat(name.name, old.key, name.offset)
	}
	sp := table.child(name.name, name.offset)
	sp.defined = true
	s.value(sp, n.Value(), s.afterEquals(name.end), depth+len(keys))
}

// value notes where a value and what is in it stand; start is where it begins.
func (s *spotter) value(sp *spot, n *unstable.Node, start, depth int) {
	s.checkDepth(depth, start)
	sp.value = start
	children := n.Children()
	switch n.Kind {
	case unstable.InlineTable:
		for children.Next() {
			s.keyValue(sp, children.Node(), depth)
		}
	case unstable.Array:
		for children.Next() {
			element := children.Node()
			at := start // a list in a list does not tell where it is
			if element.Raw.Length > 0 {
				at = int(element.Raw.Offset)
			}
			e := &spot{key: at, value: at}
			s.value(e, element, at, depth+1)
			sp.elements = append(sp.elements, e)
		}
	case unstable.String:
		raw := s.parser.Raw(n.Raw)
		sp.plain = len(raw) >= 2 && bytes.Equal(raw[1:len(raw)-1], n.Data)
	default:
	}
}

// afterEquals returns the offset of the value after a key.
func (s *spotter) afterEquals(offset int) int {
	for offset < len(s.text) && bytes.IndexByte([]byte(" \t="), s.text[offset]) >= 0 {
		offset++
	}
	return offset
}

func (s *spotter) checkDepth(depth, offset int) {
	if depth > maxNesting && s.deepest < 0 {
		s.deepest = offset
	}
}

func (s *spotter) repeat(name string, first, second int) {
	if s.repeated == nil {
		s.repeated = &twice{name, first, second}
	}
}

type key struct {
	name        string
	offset, end int
}

func keysOf(n *unstable.Node) []key {
	var keys []key
	for it := n.Key(); it.Next(); {
		k := it.Node()
		keys = append(keys, key{string(k.Data), int(k.Raw.Offset), int(k.Raw.Offset + k.Raw.Length)})
	}
	return keys
}
