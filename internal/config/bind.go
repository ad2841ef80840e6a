package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/plugin"
)

// errBound says that a table could not be bound and that the report has the
// reasons already.
var errBound = errors.New("the table has mistakes")

// An unmarshaler takes a key that has several forms. It gets a string, int64,
// float64, bool, []any or map[string]any; a [plugin.KeyError] of it is placed at
// that key.
type unmarshaler interface {
	UnmarshalTOML(value any) error
}

// A raw field takes a value as it is, for what a struct cannot say.
type raw struct{ *node }

// A binder fills Go values from nodes, by the fields' toml tags, and reports
// everything that does not fit.
type binder struct {
	*report
	// elsewhere tells for a key that is unknown where it is known.
	elsewhere map[string][]string
}

// table fills the struct that into points to. where names the table in messages.
func (b *binder) table(n *node, into any, where string) error {
	before := len(b.problems)
	b.structure(n, reflect.ValueOf(into).Elem(), where)
	if len(b.problems) > before {
		return errBound
	}
	return nil
}

// A field is a struct's field that has a key.
type field struct {
	key   string
	value reflect.Value
}

func fieldsOf(v reflect.Value) []field {
	var fields []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			fields = append(fields, fieldsOf(v.Field(i))...)
		case name != "" && name != "-" && f.IsExported():
			fields = append(fields, field{name, v.Field(i)})
		}
	}
	return fields
}

var secretType = reflect.TypeFor[plugin.Secret]()

// keysOfTable lists the keys of a struct's table.
func keysOfTable(v reflect.Value) []string {
	var keys []string
	for _, f := range fieldsOf(v) {
		keys = append(keys, f.key)
		if f.value.Type() == secretType {
			keys = append(keys, f.key+"_file")
		}
	}
	return keys
}

func (b *binder) structure(n *node, v reflect.Value, where string) {
	if n.table == nil {
		b.problem(n.value, "%s %s, want a table", where, n.is())
		return
	}
	known := keysOfTable(v)
	for _, k := range n.keys {
		if !slices.Contains(known, k) {
			b.unknown(n.table[k], k, known, where)
		}
	}
	for _, f := range fieldsOf(v) {
		if f.value.Type() == secretType {
			b.secret(n, f)
			continue
		}
		if value := n.get(f.key); value != nil {
			b.value(value, f.value, f.key)
		}
	}
}

func (b *binder) unknown(n *node, key string, known []string, where string) {
	ofPlugin := strings.Contains(where, `"`)
	if places := b.elsewhere[key]; len(places) > 0 && (!ofPlugin || closest(key, known) == "") {
		b.problem(n.key, "%q is no key of %s: it belongs %s", key, where, strings.Join(places, " or "))
		return
	}
	b.problem(n.key, "unknown key %q in %s%s", key, where, didYouMean(key, known, "the keys are"))
}

// value fills one field, element or map entry; key names it in messages.
func (b *binder) value(n *node, v reflect.Value, key string) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		b.value(n, v.Elem(), key)
		return
	}
	switch into := v.Addr().Interface().(type) {
	case *raw:
		into.node = n
		return
	case unmarshaler:
		b.complain(n, key, into.UnmarshalTOML(n.bare()), key+".")
		return
	case *plugin.Duration:
		b.duration(n, into, key)
		return
	case *time.Duration: // a bare number would be nanoseconds
		b.duration(n, (*plugin.Duration)(into), key)
		return
	case *plugin.Secret:
		if text, ok := b.text(n, key, "a string"); ok {
			*into = plugin.Secret(text)
		}
		return
	case encoding.TextUnmarshaler:
		if text, ok := b.text(n, key, "a string"); ok {
			b.complain(n, key, into.UnmarshalText([]byte(text)))
		}
		return
	}
	b.kind(n, v, key)
}

func (b *binder) kind(n *node, v reflect.Value, key string) {
	switch v.Kind() {
	case reflect.String:
		if text, ok := b.text(n, key, "a string"); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		b.boolean(n, v, key)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		b.integer(n, v, key)
	case reflect.Float32, reflect.Float64:
		b.float(n, v, key)
	case reflect.Slice:
		b.list(n, v, key)
	case reflect.Map:
		b.mapping(n, v, key)
	case reflect.Struct:
		b.structure(n, v, key)
	case reflect.Interface:
		if bare := reflect.ValueOf(n.bare()); bare.Type().AssignableTo(v.Type()) {
			v.Set(bare)
		}
	default: // a plugin's author sees this at the first test
		b.problem(n.value, "%s: the configuration cannot fill a %s", key, v.Type())
	}
}

// complain reports a value's own error. Where it blames a key, that key's place
// counts, and the message names it, after the prefix if there is one.
func (b *binder) complain(n *node, key string, err error, prefix ...string) {
	if err == nil || errors.Is(err, errBound) {
		return
	}
	each(n, key, err, b.problem, prefix...)
}

// each says every error of err at its place.
func each(n *node, key string, err error, say func(at place, format string, args ...any), prefix ...string) {
	for _, e := range branches(err) {
		if blamed, ok := errors.AsType[*plugin.KeyError](e); ok {
			say(n.blamed(blamed.Key), "%s: %s", strings.Join(append(prefix, blamed.Key), ""), oneLine(blamed.Err.Error()))
			continue
		}
		say(n.value, "%s: %s", key, oneLine(e.Error()))
	}
}

// blamed returns the place of a key that a plugin blames; the secret in NAME may
// have come from NAME_file.
func (n *node) blamed(key string) place {
	if n.get(key) == nil && n.get(key+"_file") != nil {
		key += "_file"
	}
	return n.find(key).value
}

// branches takes the errors of errors.Join apart.
func branches(err error) []error {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	var texts []string
	for _, e := range several.Unwrap() {
		out, texts = append(out, branches(e)...), append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() { // two %w of one message
		return []error{err}
	}
	return out
}

func (b *binder) text(n *node, key, want string) (string, bool) {
	text, ok := n.scalar.(string)
	if !ok {
		b.problem(n.value, "%s %s, want %s", key, n.is(), want)
	}
	return text, ok
}

func (b *binder) duration(n *node, into *plugin.Duration, key string) {
	switch v := n.scalar.(type) {
	case string:
		d, err := plugin.ParseDuration(v)
		if err != nil {
			b.problem(n.value, "%s: %v", key, err)
		}
		*into = plugin.Duration(d)
	case int64:
		b.problem(n.value, "%s: %d has no unit: write \"%ds\" for seconds, \"%dm\" for minutes", key, v, v, v)
	case float64:
		number := strconv.FormatFloat(v, 'f', -1, 64)
		b.problem(n.value, "%s: %s has no unit: write \"%ss\" for seconds, \"%sm\" for minutes", key, number, number, number)
	default:
		b.problem(n.value, "%s %s, want a duration like \"5s\"", key, n.is())
	}
}

// secret takes NAME or NAME_file.
func (b *binder) secret(n *node, f field) {
	own, file := n.get(f.key), n.get(f.key+"_file")
	switch {
	case own != nil && file != nil:
		b.problem(file.key, "%s and %s_file are both set: write one of them", f.key, f.key)
	case own != nil:
		b.value(own, f.value, f.key)
	case file != nil:
		b.secretFile(file, f.value, f.key+"_file")
	}
}

func (b *binder) secretFile(n *node, v reflect.Value, key string) {
	path, ok := b.text(n, key, "the path of a file")
	if !ok {
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(n.value.in.name), path)
	}
	text, info, err := readFile(path, maxSecret)
	if err != nil {
		b.problem(n.value, "%s: cannot read %s: %v", key, path, err)
		return
	}
	if info.Mode().Perm()&0o007 != 0 {
		b.warning(n.value, "%s: everybody on this machine may read %s: chmod o= it", key, path)
	}
	n.content = string(text)
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		b.problem(n.value, "%s: %s is empty", key, path)
	}
	v.SetString(secret)
}

func (b *binder) boolean(n *node, v reflect.Value, key string) {
	switch x := n.scalar.(type) {
	case bool:
		v.SetBool(x)
		return
	case string:
		if x == "true" || x == "false" {
			if n.expanded {
				v.SetBool(x == "true")
				return
			}
			b.problem(n.value, "%s is a string, want true or false: write %s without quotes", key, x)
			return
		}
	}
	b.problem(n.value, "%s %s, want true or false", key, n.is())
}

func (b *binder) integer(n *node, v reflect.Value, key string) {
	number, ok := n.scalar.(int64)
	if text, isText := n.scalar.(string); isText {
		parsed, err := strconv.ParseInt(text, 10, 64)
		if err == nil && !n.expanded {
			b.problem(n.value, "%s is a string, want a whole number: write %s without quotes", key, text)
			return
		}
		number, ok = parsed, err == nil
	}
	if !ok {
		b.problem(n.value, "%s %s, want a whole number", key, n.is())
		return
	}
	low, high := limits(v)
	switch {
	case number < low || number > high:
		b.problem(n.value, "%s: %d is out of range: write %d to %d", key, number, low, high)
	case v.CanInt():
		v.SetInt(number)
	default:
		v.SetUint(uint64(number))
	}
}

func limits(v reflect.Value) (low, high int64) {
	bits := v.Type().Bits()
	if v.CanInt() {
		return math.MinInt64 >> (64 - bits), math.MaxInt64 >> (64 - bits)
	}
	if bits == 64 {
		return 0, math.MaxInt64 // the largest that TOML has
	}
	return 0, 1<<bits - 1
}

func (b *binder) float(n *node, v reflect.Value, key string) {
	var number float64
	switch x := n.scalar.(type) {
	case float64:
		number = x
	case int64:
		number = float64(x)
	case string:
		parsed, err := strconv.ParseFloat(x, 64)
		if err != nil || !n.expanded {
			b.problem(n.value, "%s is a string, want a number", key)
			return
		}
		number = parsed
	default:
		b.problem(n.value, "%s %s, want a number", key, n.is())
		return
	}
	if math.IsNaN(number) || math.IsInf(number, 0) || v.OverflowFloat(number) {
		b.problem(n.value, "%s: %g is no number to work with", key, number)
		return
	}
	v.SetFloat(number)
}

// list fills a slice; what is no list counts as a list of one.
func (b *binder) list(n *node, v reflect.Value, key string) {
	elements := n.list
	if !n.isList {
		kind := v.Type().Elem().Kind()
		_, isText := n.scalar.(string)
		if kind == reflect.String && !isText || n.table != nil && !slices.Contains([]reflect.Kind{reflect.Struct, reflect.Map, reflect.Interface}, kind) {
			b.problem(n.value, "%s %s, want %s", key, n.is(), wanted(v.Type()))
			return
		}
		elements = []*node{n}
	}
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, e := range elements {
		name := key
		if n.isList {
			name = fmt.Sprintf("%s[%d]", key, i)
		}
		b.value(e, v.Index(i), name)
	}
}

func (b *binder) mapping(n *node, v reflect.Value, key string) {
	if n.table == nil {
		b.problem(n.value, "%s %s, want a table", key, n.is())
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.keys)))
	for _, k := range n.keys {
		entry := reflect.New(v.Type().Elem()).Elem()
		b.value(n.table[k], entry, key+"."+k)
		v.SetMapIndex(reflect.ValueOf(k).Convert(v.Type().Key()), entry)
	}
}

// wanted names a list's type in messages.
func wanted(t reflect.Type) string {
	switch t.Elem().Kind() {
	case reflect.String:
		return "a list of strings"
	case reflect.Int, reflect.Int64:
		return "a list of whole numbers"
	default:
		return "a list"
	}
}
