package config

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/resources"
)

// A Table is one table of the configuration, for its reference.
type Table struct {
	// Name is what users write, such as "[log]", or the kind of a plugin. The keys
	// before the first table are [Globals].
	Name string
	// Contract is "monitor", "alert" or "resource" for the table of a kind, else "".
	Contract string
	// Package is the import path of a kind's package.
	Package string
	Keys    []Key
}

// A Key is one key of a table.
type Key struct {
	Name string
	// Type is the form of the value, for people: "duration", "list of strings".
	Type string
	// Default is what holds without the key, as text; "required" if there is nothing.
	Default string
	// Doc is a sentence without the default.
	Doc string
	// Mon is what mon.cf has instead, "" for nothing.
	Mon string
	// Of are the keys of the tables that the value is or holds.
	Of []Key

	code string // the default in the code, "" for a zero value
}

// Globals is the name of the table before the first table.
const Globals = "globals"

// Reference lists every table, in the order in which people write them, with the
// kinds of plugins that are compiled in.
func Reference() []Table {
	doc := defaultDocument()
	watch := doc.defaultWatch()
	cluster, fence, group := defaultCluster(), defaultFence(), defaultGroup()
	stonith, resource, log := defaultStonith(), defaultResource(), defaultLog()
	lvsTable, sync, virtual := lvs.DefaultConfig(), lvs.DefaultSyncConfig(), virtualTable{VirtualConfig: lvs.DefaultVirtualConfig()}

	tables := []Table{
		{Name: Globals, Keys: referenceOf(&doc)},
		{Name: logSection, Keys: referenceOf(&log)},
		{Name: watchSection, Keys: referenceOf(&watch)},
	}
	tables = append(tables, kinds("monitor", monitors.Kinds(), monitors.Defaults)...)
	tables = append(tables,
		Table{Name: periodSection, Keys: referenceOf(&periodTable{})},
		Table{Name: escalateSection, Keys: referenceOf(&escalateTable{})},
		Table{Name: "every alert", Keys: referenceOf(&alertTable{})})
	tables = append(tables, kinds("alert", alerts.Kinds(), alerts.Defaults)...)
	tables = append(tables, Table{Name: digestSection, Keys: referenceOf(&digestTable{})})
	tables = append(tables,
		Table{Name: "[lvs]", Keys: referenceOf(&lvsTable)},
		Table{Name: "[[virtual]]", Keys: referenceOf(&virtual)},
		Table{Name: "[sync]", Keys: referenceOf(&sync)},
		Table{Name: "[cluster]", Keys: referenceOf(&cluster)},
		Table{Name: "[[cluster.node]]", Keys: referenceOf(&nodeTable{})},
		Table{Name: "[fence]", Keys: referenceOf(&fence)},
		Table{Name: "[fence.stonith]", Keys: referenceOf(&stonith)},
		Table{Name: "[[group]]", Keys: referenceOf(&group)},
		Table{Name: "every resource", Keys: referenceOf(&resource)})
	tables = append(tables, kinds("resource", resources.Kinds(), resources.Defaults)...)
	for i := range tables {
		equivalents(&tables[i])
	}
	return tables
}

// alertTable holds the keys that every alert of a watch has.
type alertTable struct {
	Exit exitRange `toml:"exit" doc:"Exit statuses of the monitor at which this alert is sent, like 2 or \"1-3\"; default all."`
}

func kinds(contract string, names []string, defaults func(string) any) []Table {
	var all []Table
	for _, name := range names {
		c := defaults(name)
		all = append(all, Table{Name: name, Contract: contract, Package: reflect.TypeOf(c).Elem().PkgPath(), Keys: referenceOf(c)})
	}
	return all
}

// referenceOf describes the keys of the struct that defaults points to.
func referenceOf(defaults any) []Key { return referenceOfStruct(reflect.ValueOf(defaults).Elem()) }

func referenceOfStruct(v reflect.Value) []Key {
	var keys []Key
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			keys = append(keys, referenceOfStruct(v.Field(i))...)
		case name != "" && name != "-" && f.IsExported():
			k := Key{Name: name, Type: form(f.Type), Of: keysInside(f.Type)}
			k.Doc, k.Default = splitDefault(f.Tag.Get("doc"))
			k.code = literal(v.Field(i))
			k.Default = cmp.Or(k.Default, k.code)
			if k.Type == "" {
				k.Type = forms()[name]
				k.Default = cmp.Or(k.Default, "none")
			}
			keys = append(keys, k)
		}
	}
	return keys
}

// keysInside are the keys of the tables that a value of the type is or holds.
func keysInside(t reflect.Type) []Key {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || isScalar(t) {
		return nil
	}
	return referenceOfStruct(reflect.New(t).Elem())
}

var (
	unmarshalerType     = reflect.TypeFor[unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isScalar reports whether the binder fills the type from a single value.
func isScalar(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(unmarshalerType) || p.Implements(textUnmarshalerType) || t == reflect.TypeFor[raw]()
}

// form names a type for people. It is "" for one of [forms].
func form(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return form(t.Elem())
	case t == reflect.TypeFor[plugin.Duration]() || t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == secretType:
		return "secret"
	case t == reflect.TypeFor[raw]() || reflect.PointerTo(t).Implements(unmarshalerType):
		return ""
	case reflect.PointerTo(t).Implements(textUnmarshalerType):
		return "string"
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "list of " + plural(form(t.Elem()))
	case reflect.Map:
		return "table of " + plural(form(t.Elem()))
	case reflect.Struct:
		return "table"
	case reflect.Interface:
		return "anything"
	default:
		return "number"
	}
}

func plural(form string) string { return form + "s" }

// noDefault stands for the default of a key that has to be written.
const noDefault = "required"

// splitDefault takes the default out of the text about a key. It is written in one
// of three ways: "...; default 5.", "... (default 5).", "... (1 to 9, default 5).";
// after the first of them other sentences may follow.
func splitDefault(doc string) (text, value string) {
	if before, ok := strings.CutSuffix(doc, "; no default."); ok {
		return before + ".", noDefault
	}
	for _, way := range []struct{ open, end, stays string }{{"; default", ".", "."}, {" (default", ").", "."}, {", default", ").", ")."}} {
		at := strings.LastIndex(doc, way.open)
		if at < 0 {
			continue
		}
		value := doc[at+len(way.open):]
		rest := ""
		if end := strings.Index(value, way.end+" "); end >= 0 {
			value, rest = value[:end], value[end+len(way.end):]
		} else if value, _ = strings.CutSuffix(value, way.end); strings.Count(value, "(") < strings.Count(value, ")") {
			continue
		}
		value = strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(value, ":")), "is ")
		return doc[:at] + way.stays + rest, value
	}
	return doc, ""
}

// brief writes a duration without the units that are zero.
func brief(d plugin.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// literal writes a default as a user would, "" for a zero value.
func literal(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	switch x := v.Interface().(type) {
	case plugin.Duration:
		return strconv.Quote(brief(x))
	case plugin.Secret:
		return ""
	}
	switch v.Kind() {
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, literal(v.Index(i)))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case reflect.Pointer, reflect.Struct, reflect.Map, reflect.Interface:
		return ""
	default:
		return fmt.Sprint(v.Interface())
	}
}

// Contradiction says how the default in a key's documentation differs from the one
// in the code, "" if it does not. Defaults that are found out later, such as the port
// of a protocol, are zero in the code and may be told as they will be; and one may be
// told in words.
func (k Key) Contradiction() string {
	if k.code == "" || !literalDefault.MatchString(k.Default) || strings.Contains(k.Default, strings.Trim(k.code, `[]"`)) {
		return ""
	}
	told := strings.Trim(firstWord(k.Default), `".,:`)
	if d, err := plugin.ParseDuration(told); err == nil && strconv.Quote(brief(plugin.Duration(d))) == k.code {
		return ""
	}
	return fmt.Sprintf("the doc tag says default %s, the code %s", k.Default, k.code)
}

// literalDefault is a default that is told as it would be written.
var literalDefault = regexp.MustCompile(`^("|\d|true$|false$|\w+$)`)

func firstWord(text string) string {
	first, _, _ := strings.Cut(text, " ")
	return first
}
