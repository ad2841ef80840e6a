package reference

import (
	"errors"
	"fmt"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// about returns a package's comment as Markdown: without the words by which such a
// comment begins, and with its examples as blocks of TOML.
func about(folder string) (string, error) {
	text, err := packageComment(folder)
	if err != nil {
		return "", err
	}
	p := comment.Parser{
		// Not the headers of tables, like [[group]], which look alike.
		LookupSym: func(_, name string) bool { return token.IsExported(name) },
		LookupPackage: func(name string) (string, bool) {
			return module + name, slices.Contains([]string{"monitors", "alerts", "resources"}, name)
		},
	}
	parsed := p.Parse(text)
	examples := 0
	var out strings.Builder
	for i, block := range parsed.Content {
		if code, ok := block.(*comment.Code); ok && isTOML(code.Text) {
			examples++
		}
		written := markdown(block)
		if i == 0 {
			written = opening(written)
		}
		if !strings.HasPrefix(written, "Defaults:") { // those are in the table
			out.WriteString(written + "\n")
		}
	}
	if examples == 0 {
		return "", errors.New("its package's comment has no example: write one, indented by a tab")
	}
	return out.String(), nil
}

func packageComment(folder string) (string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return "", err
		}
		if parsed.Doc != nil {
			return parsed.Doc.Text(), nil
		}
	}
	return "", fmt.Errorf("%s has no package comment", folder)
}

// packageIs is how the comment of a plugin begins: Package http is the monitor
// "http": it asks ...
var packageIs = regexp.MustCompile(`^Package \w+ (?:is|has|holds) the [^:]*:\s+`)

func opening(text string) string {
	text = packageIs.ReplaceAllString(text, "")
	r := []rune(text)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

func markdown(block comment.Block) string {
	switch b := block.(type) {
	case *comment.Paragraph:
		return inline(b.Text) + "\n"
	case *comment.Heading:
		return "#### " + inline(b.Text) + "\n"
	case *comment.Code:
		language := ""
		if isTOML(b.Text) {
			language = "toml"
		}
		return "```" + language + "\n" + b.Text + "```\n"
	case *comment.List:
		var out strings.Builder
		for _, item := range b.Items {
			for _, inner := range item.Content {
				out.WriteString(" - " + strings.ReplaceAll(markdown(inner), "\n", "\n   ") + "\n")
			}
		}
		return strings.ReplaceAll(out.String(), "\n   \n", "\n")
	}
	return ""
}

func inline(texts []comment.Text) string {
	var out strings.Builder
	for _, t := range texts {
		switch t := t.(type) {
		case comment.Plain:
			out.WriteString(escape.Replace(string(t)))
		case comment.Italic:
			out.WriteString("*" + escape.Replace(string(t)) + "*")
		case *comment.Link:
			fmt.Fprintf(&out, "[%s](%s)", inline(t.Text), t.URL)
		case *comment.DocLink:
			out.WriteString("`" + plain(t.Text) + "`")
		}
	}
	return out.String()
}

func plain(texts []comment.Text) string {
	var out strings.Builder
	for _, t := range texts {
		if p, ok := t.(comment.Plain); ok {
			out.WriteString(string(p))
		}
	}
	return out.String()
}

// escape keeps a comment's letters from being markup.
var escape = strings.NewReplacer("*", `\*`, "<", `\<`, "`", "\\`")

// tomlLine is a key or the header of a table.
var tomlLine = regexp.MustCompile(`(?m)^\s*([a-z_]+ *= |\[\[?[a-z._]+\]\]?)`)

func isTOML(code string) bool { return tomlLine.MatchString(code) }
