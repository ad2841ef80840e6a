package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// maxFile is the size of the largest file that is read: 10,000 watches need
	// a quarter of it.
	maxFile = 16 << 20
	// maxSecret bounds a file that holds a secret.
	maxSecret = 64 << 10
	// maxIncludes bounds how deep files include files, maxFiles how many there
	// are.
	maxIncludes = 10
	maxFiles    = 10000
)

// readFile reads a regular file of at most limit bytes. The error does not name
// it.
func readFile(path string, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path) // before opening: a pipe would make that wait
	if err != nil {
		return nil, nil, bareError(err)
	}
	if info.IsDir() {
		return nil, nil, errors.New("is a folder")
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, bareError(err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, bareError(err)
	}
	if int64(len(text)) > limit {
		return nil, nil, fmt.Errorf("is larger than %d KiB", limit>>10)
	}
	return text, info, nil
}

// bareError drops what repeats the path.
func bareError(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// A reader reads a file and those that it includes, into one document.
type reader struct {
	*report
	env func(string) (string, bool)
	// files are those read, with the place of the include that named them.
	files []fileRead
	root  *node
}

type fileRead struct {
	path string
	info fs.FileInfo
	from place
}

// read reads one file; trail are the files that include it, the first being the
// main file. from is where it is named; its in is nil for the main file.
func (r *reader) read(path string, from place, trail []fs.FileInfo) {
	src := newSource(path, nil)
	if from.in == nil {
		from = src.place(0)
	}
	text, info, err := readFile(path, maxFile)
	if err != nil {
		r.problem(from, "cannot read %s: %v", path, err)
		return
	}
	if r.admit(path, info, from, trail) {
		r.take(path, text, info, from, trail)
	}
}

// take reads the text of a file that is admitted.
func (r *reader) take(path string, text []byte, info fs.FileInfo, from place, trail []fs.FileInfo) {
	r.files = append(r.files, fileRead{path, info, from})
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark
	doc := parse(newSource(path, text), r.report, r.env)
	if doc == nil {
		return
	}
	includes := doc.get("include")
	own := doc.without("include")
	if r.root == nil {
		r.root = own
	} else {
		r.merge(r.root, own, "")
	}
	if includes != nil {
		r.include(path, includes, append(slices.Clone(trail), info))
	}
}

// admit refuses a file that is read already.
func (r *reader) admit(path string, info fs.FileInfo, from place, trail []fs.FileInfo) bool {
	same := func(other fs.FileInfo) bool { return os.SameFile(info, other) }
	switch {
	case slices.ContainsFunc(trail, same):
		r.problem(from, "%s includes itself", path)
		return false
	case len(trail) > maxIncludes:
		r.problem(from, "%s is included more than %d files deep", path, maxIncludes)
		return false
	case len(r.files) >= maxFiles:
		r.problem(from, "%s is one file too many: %d are the most", path, maxFiles)
		return false
	}
	for _, f := range r.files {
		if same(f.info) {
			r.problem(from, "%s is included twice; the first time is in %s", path, f.from.position())
			return false
		}
	}
	return true
}

// position names a place to people who are somewhere else.
func (p place) position() string { return fmt.Sprintf("%s:%d:%d", p.in.name, p.line, p.column) }

// include reads the files that an include names, relative to the file it is in.
func (r *reader) include(path string, includes *node, trail []fs.FileInfo) {
	var patterns []*node
	switch {
	case includes.isList:
		patterns = includes.list
	default:
		patterns = []*node{includes}
	}
	for _, p := range patterns {
		pattern, ok := p.scalar.(string)
		if !ok || strings.TrimSpace(pattern) == "" {
			r.problem(p.value, "include %s, want a list of files like \"conf.d/*.toml\"", emptyOr(p))
			continue
		}
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(path), pattern)
		}
		for _, file := range r.glob(pattern, p) {
			r.read(file, p.value, trail)
		}
	}
}

func emptyOr(n *node) string {
	if n.scalar != nil {
		if text, ok := n.scalar.(string); ok && strings.TrimSpace(text) == "" {
			return "is empty"
		}
	}
	return n.is()
}

// glob returns the files that match, in order; a plain name matches itself,
// whether it is there or not. Hidden files are left out unless asked for, as by
// the shell: they are what editors leave behind.
func (r *reader) glob(pattern string, n *node) []string {
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}
	}
	matches, err := filepath.Glob(pattern)
	if err != nil {
		r.problem(n.value, "%q is not a pattern for files: a [ lacks its ]", n.scalar)
		return nil
	}
	if !strings.HasPrefix(filepath.Base(pattern), ".") {
		matches = slices.DeleteFunc(matches, func(m string) bool { return strings.HasPrefix(filepath.Base(m), ".") })
	}
	slices.Sort(matches)
	return matches
}

// merge adds what another file says: tables grow, lists of [[tables]] too, and
// anything else may be set in one file only.
func (r *reader) merge(into, from *node, path string) {
	for _, name := range from.keys {
		added, old := from.table[name], into.table[name]
		key := name
		if path != "" {
			key = path + "." + name
		}
		switch {
		case old == nil:
			into.table[name] = added
			into.keys = append(into.keys, name)
		case old.table != nil && added.table != nil:
			r.merge(old, added, key)
		case old.tables && added.tables:
			old.list = append(old.list, added.list...)
		default:
			r.problem(added.key, "%q is set in two files; the other place is %s", key, old.key.position())
		}
	}
}
