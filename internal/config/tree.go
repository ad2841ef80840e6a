package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A node is a value of a document with the place where it stands: what the
// binder walks. Strings are expanded already.
type node struct {
	key   place // of the key; of a list's element and the document, its beginning
	value place // of the value; of a table written as [name], its header
	// scalar is a string, int64, float64, bool or time.Time; nil for the others.
	scalar any
	// table holds the values of a table; keys are in the order of the text.
	table map[string]*node
	keys  []string
	// list holds the elements of a list. tables is true if it is written as
	// [[name]], so that a file that is included may add to it.
	list   []*node
	isList bool
	tables bool
	// plain is true for a string that is written exactly as it is read.
	plain bool
	// expanded is true for a string that came from the environment.
	expanded bool
	// content is the text of the file that a secret was read from.
	content string
}

// newNode joins a value with its spots; what has no spot of its own stands where
// the thing does that it is in.
func newNode(src *source, v any, sp *spot, env func(string, place) (string, bool)) *node {
	n := &node{key: src.place(sp.key), value: src.place(sp.value)}
	switch v := v.(type) {
	case map[string]any:
		n.table = make(map[string]*node, len(v))
		for name, value := range v {
			n.keys = append(n.keys, name)
			n.table[name] = newNode(src, value, inside(sp.children[name], sp), env)
		}
		slices.SortFunc(n.keys, func(a, b string) int { return cmp.Or(n.table[a].key.compare(n.table[b].key), cmp.Compare(a, b)) })
	case []map[string]any:
		n.isList, n.tables = true, sp.header
		for i, value := range v {
			n.list = append(n.list, newNode(src, value, sp.element(i), env))
		}
	case []any:
		n.isList = true
		for i, value := range v {
			n.list = append(n.list, newNode(src, value, sp.element(i), env))
		}
	case string:
		text, expanded := env(v, n.value)
		n.scalar, n.expanded, n.plain = text, expanded, sp.plain && text == v
	default:
		n.scalar = v
	}
	return n
}

func inside(own, outer *spot) *spot {
	if own == nil {
		return &spot{key: outer.key, value: outer.value}
	}
	return own
}

func (s *spot) element(i int) *spot {
	if i < len(s.elements) {
		return s.elements[i]
	}
	return &spot{key: s.key, value: s.value}
}

func (p place) compare(q place) int {
	if p.line != q.line {
		return p.line - q.line
	}
	return p.column - q.column
}

// is describes a value in a sentence about it.
func (n *node) is() string {
	switch v := n.scalar.(type) {
	case string:
		return "is a string"
	case bool:
		return fmt.Sprintf("is %t", v)
	case int64:
		return fmt.Sprintf("is the number %d", v)
	case float64:
		return "is the number " + strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return "is a date or time"
	}
	if n.isList {
		return "is a list"
	}
	return "is a table"
}

// get returns the value of a key, or nil.
func (n *node) get(key string) *node { return n.table[key] }

// at returns the place of a key's value, or of the table if it lacks the key.
func (n *node) at(key string) place {
	if v := n.table[key]; v != nil {
		return v.value
	}
	return n.value
}

// find follows a path like "real[0].host" as far as it leads.
func (n *node) find(path string) *node {
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		next := n.table[step]
		if i, err := strconv.Atoi(step); err == nil && n.isList && i >= 0 && i < len(n.list) {
			next = n.list[i]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// without returns a table that lacks keys.
func (n *node) without(keys ...string) *node {
	c := *n
	c.table = make(map[string]*node, len(n.table))
	c.keys = nil
	for _, k := range n.keys {
		if !slices.Contains(keys, k) {
			c.keys, c.table[k] = append(c.keys, k), n.table[k]
		}
	}
	return &c
}

// bare returns the value as the parser returned it, strings expanded.
func (n *node) bare() any {
	switch {
	case n.table != nil:
		m := make(map[string]any, len(n.table))
		for k, v := range n.table {
			m[k] = v.bare()
		}
		return m
	case n.isList:
		l := make([]any, len(n.list))
		for i, v := range n.list {
			l[i] = v.bare()
		}
		return l
	}
	return n.scalar
}
