package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestPositions reads documents in which "here" marks a value or a key, and looks
// for it in the tree at the path.
func TestPositions(t *testing.T) {
	tests := []struct {
		name, text, path string
		key, value       string // line:column
	}{
		{"key", "a = 1\n", "a", "1:1", "1:5"},
		{"blanks", "\n\n\ta  =\t 'x'\n", "a", "3:2", "3:8"},
		{"quoted key", "\"a b\" = 1\n", "a b", "1:1", "1:9"},
		{"dotted key", "x.y . a = 1\n", "x.y.a", "1:7", "1:11"},
		{"dotted key's table", "x.y.a = 1\n", "x.y", "1:3", "1:3"},
		{"table", "[x]\na = 1\n", "x", "1:1", "1:1"},
		{"in a table", "[ x . y ]\na = 1\n", "x.y.a", "2:1", "2:5"},
		{"table of a table", "[x]\n[x.y]\na = 1\n", "x.y", "2:1", "2:1"},
		{"table before its parent", "[x.y]\n[x]\n a = 1\n", "x.a", "3:2", "3:6"},
		{"list of tables", "[[x]]\na = 1\n[[ x ]]\na = 2\n", "x[1].a", "4:1", "4:5"},
		{"element of a list of tables", "[[x]]\n  [[x]]\n", "x[1]", "2:3", "2:3"},
		{"list in a list of tables", "[[x]]\n[[x.y]]\n[[x]]\n[[x.y]]\n[[x.y]]\na = 1\n", "x[1].y[1].a", "6:1", "6:5"},
		{"table in a list of tables", "[[x]]\n[[x]]\n[x.y]\na = 1\n", "x[1].y.a", "4:1", "4:5"},
		{"dotted key in a list of tables", "[[x]]\ny.a = 1\n[[x]]\ny.a = 2\n", "x[1].y.a", "4:3", "4:7"},
		{"inline table", "x = { a = 1, b = 2 }\n", "x.b", "1:14", "1:18"},
		{"inline table itself", "x  =  { a = 1 }\n", "x", "1:1", "1:7"},
		{"inline table in an inline table", "x = { y = { a = 1 } }\n", "x.y.a", "1:13", "1:17"},
		{"dotted key in an inline table", "x = { y.a = 1 }\n", "x.y.a", "1:9", "1:13"},
		{"inline table over lines", "x = {\n  a = 1,\n  b = 2,\n}\n", "x.b", "3:3", "3:7"},
		{"list", "x = [ 1, 22, 3 ]\n", "x[2]", "1:14", "1:14"},
		{"list over lines", "x = [\n 1, # one\n 2,\n]\n", "x[1]", "3:2", "3:2"},
		{"list of inline tables", "x = [{ a = 1 }, { a = 2 }]\n", "x[1].a", "1:19", "1:23"},
		{"list of inline tables over lines", "x = [\n  { a = 1 },\n  { a = 2 },\n]\n", "x[1]", "3:3", "3:3"},
		{"list in a list stands where that does", "x = [[1], [2]]\n", "x[1]", "1:5", "1:5"},
		{"after a long string", "x = \"\"\"\none\ntwo\n\"\"\"\na = 1\n", "a", "5:1", "5:5"},
		{"long string", "x = '''\none'''\n", "x", "1:1", "1:5"},
		{"after a long string in its line", "x = [\"\"\"\none\"\"\", 5]\n", "x[1]", "2:9", "2:9"},
		{"characters, not bytes", "x = { 'größe' = '日本', a = 1 }\n", "x.a", "1:23", "1:27"},
		{"a character of two in UTF-16", "x = ['😀', 1]\n", "x[1]", "1:11", "1:11"},
		{"carriage returns", "# one\r\n[x]\r\na = '''y\r\nz'''\r\nb = 1\r\n", "x.b", "5:1", "5:5"},
		{"comments", "# a = 1\n x = 1 # a = 2\na = 3", "a", "3:1", "3:5"},
		{"other values", "x = [true, 1.5, 2020-01-02, inf, 0x10]\n", "x[4]", "1:34", "1:34"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r report
			root := parse(newSource("f", []byte(tt.text)), &r, environment)
			if root == nil {
				t.Fatalf("cannot parse %q: %v", tt.text, r.problems)
			}
			n := lookUp(t, root, tt.path)
			if got := lineColumn(n.key); got != tt.key {
				t.Errorf("key %s of %q: got %s, want %s", tt.path, tt.text, got, tt.key)
			}
			if got := lineColumn(n.value); got != tt.value {
				t.Errorf("value of %s of %q: got %s, want %s", tt.path, tt.text, got, tt.value)
			}
		})
	}
}

func lineColumn(p place) string { return fmt.Sprintf("%d:%d", p.line, p.column) }

// lookUp is find that must arrive.
func lookUp(t *testing.T, n *node, path string) *node {
	t.Helper()
	var way string
	for step := range strings.SplitSeq(strings.ReplaceAll(path, "[", ".["), ".") {
		next := n.find(step)
		if next == n {
			t.Fatalf("there is no %s below %q", step, way)
		}
		way, n = way+"/"+step, next
	}
	return n
}

func TestFindGoesAsFarAsItCan(t *testing.T) {
	var r report
	root := parse(newSource("f", []byte("a = { b = [1, { c = 2 }] }\n")), &r, environment)
	for path, want := range map[string]string{
		"a.b[1].c": "1:21", "a.b[1].x": "1:15", "a.b[7].c": "1:11", "a.x.y": "1:5", "x": "1:1", "": "1:1", "a.b[-1]": "1:11",
	} {
		if got := lineColumn(root.find(path).value); got != want {
			t.Errorf("find(%q): got %s, want %s", path, got, want)
		}
	}
}
