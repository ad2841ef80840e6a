// Package reference writes docs/configuration.md: the text of page.md, with the keys
// of every table and the kinds of plugins put in from the code. A kind's text and
// examples are its package's comment, its keys the tags of its configuration.
//
//	go test ./cmd/monitord -run Reference -update
//
// writes the page, and the same test without -update fails if it is out of date.
package reference

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/monitord/monitord/internal/config"
)

//go:embed page.md
var page string

const module = "github.com/monitord/monitord/"

// Page returns the page. root is the folder of this module, where the packages'
// comments are read. A table that page.md leaves out is an error.
func Page(tables []config.Table, root string) (string, error) {
	w := writer{tables: tables, root: root, used: map[string]bool{}}
	t, err := template.New("page.md").Delims("{%", "%}").Funcs(template.FuncMap{"keys": w.keys, "kinds": w.kinds}).Parse(page)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := t.Execute(&out, nil); err != nil {
		return "", err
	}
	for _, t := range tables {
		if !w.used[t.Contract+t.Name] {
			return "", fmt.Errorf("internal/reference/page.md has no {%% keys %q %%}", t.Name)
		}
	}
	return out.String(), nil
}

type writer struct {
	tables []config.Table
	root   string
	used   map[string]bool
}

// keys writes the keys of a table that is no kind's.
func (w *writer) keys(name string) (string, error) {
	i := slices.IndexFunc(w.tables, func(t config.Table) bool { return t.Contract == "" && t.Name == name })
	if i < 0 {
		return "", fmt.Errorf("there is no table %q", name)
	}
	w.used[name] = true
	return table(w.tables[i].Keys), nil
}

// kinds writes all kinds of a contract.
func (w *writer) kinds(contract string) (string, error) {
	var out strings.Builder
	written := map[string]string{} // the kinds by their packages
	for _, t := range w.tables {
		if t.Contract != contract {
			continue
		}
		w.used[contract+t.Name] = true
		fmt.Fprintf(&out, "### %s `%s`\n\n", contract, t.Name)
		if first, done := written[t.Package]; done {
			fmt.Fprintf(&out, "See %s `%s`, which it is told with.\n\n", contract, first)
		} else {
			written[t.Package] = t.Name
			text, err := about(filepath.Join(w.root, strings.TrimPrefix(t.Package, module)))
			if err != nil {
				return "", fmt.Errorf("%s %s: %w", contract, t.Name, err)
			}
			out.WriteString(text)
		}
		out.WriteString(table(t.Keys) + "\n")
	}
	return strings.TrimSuffix(out.String(), "\n\n") + "\n", nil
}

// table writes keys as a table of Markdown, and below it those of the tables in them.
func table(keys []config.Key) string {
	var out strings.Builder
	rows(&out, keys)
	told := map[string][]string{} // the names of keys by what they hold
	var order []string
	for _, k := range keys {
		if len(k.Of) == 0 {
			continue
		}
		var inner strings.Builder
		rows(&inner, k.Of)
		if told[inner.String()] == nil {
			order = append(order, inner.String())
		}
		told[inner.String()] = append(told[inner.String()], "`"+k.Name+"`")
	}
	for _, text := range order {
		fmt.Fprintf(&out, "\nThe keys of %s:\n\n%s", strings.Join(told[text], " and "), text)
	}
	return out.String()
}

func rows(out *strings.Builder, keys []config.Key) {
	if len(keys) == 0 {
		out.WriteString("It has no keys.\n")
		return
	}
	withMon := slices.ContainsFunc(keys, func(k config.Key) bool { return k.Mon != "" })
	head, line := "| key | type | default | meaning |", "|---|---|---|---|"
	if withMon {
		head, line = head+" in mon.cf |", line+"---|"
	}
	fmt.Fprintf(out, "%s\n%s\n", head, line)
	for _, k := range keys {
		name := "`" + k.Name + "`"
		if k.Type == "secret" {
			name += ", `" + k.Name + "_file`"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |", name, k.Type, cell(k.Default), cell(k.Doc))
		if withMon {
			fmt.Fprintf(out, " %s |", cell(k.Mon))
		}
		out.WriteString("\n")
	}
}

// cell keeps a text within its cell: what would be markup there is none.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", `\n`, "<", `\<`, "*", `\*`, "`", "\\`").Replace(text)
}
