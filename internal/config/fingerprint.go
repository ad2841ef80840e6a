package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
)

// fingerprint sums up all that a watch is built from: its text, with the secrets
// that it names, its hosts, and the global settings that plugins are told.
func (b *builder) fingerprint(n *node, hosts []string) string {
	sum := sha256.New()
	g := b.site.Global
	for _, part := range []any{hosts, g.StateDir, g.LogDir, g.ConfigDir, g.AlertDir, g.MonDir, g.Compat, b.host.Hostname, b.doc.DepBehavior, b.doc.DepMemory, b.doc.UnackSummary, b.doc.AckExpires} {
		writeString(sum, fmt.Sprintf("%q", part))
	}
	write(sum, n)
	return hex.EncodeToString(sum.Sum(nil))
}

// write writes a value so that no two values look alike; places do not count,
// nor does the order of keys.
func write(w io.Writer, n *node) {
	switch {
	case n.table != nil:
		writeString(w, fmt.Sprintf("table %d", len(n.table)))
		for _, k := range slices.Sorted(maps.Keys(n.table)) {
			writeString(w, k)
			write(w, n.table[k])
		}
	case n.isList:
		writeString(w, fmt.Sprintf("list %d", len(n.list)))
		for _, e := range n.list {
			write(w, e)
		}
	default:
		writeString(w, fmt.Sprintf("%T %v", n.scalar, n.scalar))
		writeString(w, n.content)
	}
}

func writeString(w io.Writer, s string) {
	_, _ = fmt.Fprintf(w, "%d:%s", len(s), s) // a hash takes everything
}
