package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monitord/monitord/internal/plugin"
)

func TestSplitDefault(t *testing.T) {
	for _, tt := range []struct{ doc, text, value string }{
		{"How long; default 5s.", "How long.", "5s"},
		{"How long; default is the kernel's choice.", "How long.", "the kernel's choice"},
		{"How many (1 to 9, default 3).", "How many (1 to 9).", "3"},
		{"How many (default 3).", "How many.", "3"},
		{"From where (default: the system's choice).", "From where.", "the system's choice"},
		{"The share (default \"100%\": all of them).", "The share.", "\"100%\": all of them"},
		{"The way: \"a\" or \"b\"; default \"a\". The relay has none.", "The way: \"a\" or \"b\". The relay has none.", "\"a\""},
		{"The name; no default.", "The name.", "required"},
		{"A line for people.", "A line for people.", ""},
		{"Value of Host, and default of server_name; default is the host's name.", "Value of Host, and default of server_name.", "the host's name"},
	} {
		if text, value := splitDefault(tt.doc); text != tt.text || value != tt.value {
			t.Errorf("%q is %q and %q, want %q and %q", tt.doc, text, value, tt.text, tt.value)
		}
	}
}

// sample has a key of each type.
type sample struct {
	inner
	Count   int               `toml:"count" doc:"How many; default 3."`
	Pause   plugin.Duration   `toml:"pause" doc:"How long; default 1h."`
	Words   []string          `toml:"words" doc:"Which words."`
	Vars    map[string]string `toml:"vars" doc:"Which variables; default none."`
	Key     plugin.Secret     `toml:"key" doc:"The key; no default."`
	Parts   []part            `toml:"parts" doc:"Which parts; default none."`
	Monitor raw               `toml:"monitor" doc:"The test."`
	Ignored int
}

type inner struct {
	Name string `toml:"name" doc:"The name; default \"web\"."`
}

type part struct {
	On *bool `toml:"on" doc:"Whether it is on; default true."`
}

func TestReferenceOf(t *testing.T) {
	got := referenceOf(&sample{inner: inner{"web"}, Count: 3, Pause: plugin.Duration(90 * time.Minute), Words: []string{"a", "b"}})
	want := []Key{
		{Name: "name", Type: "string", Default: `"web"`, Doc: "The name."},
		{Name: "count", Type: "number", Default: "3", Doc: "How many."},
		{Name: "pause", Type: "duration", Default: "1h", Doc: "How long."},
		{Name: "words", Type: "list of strings", Default: `["a", "b"]`, Doc: "Which words."},
		{Name: "vars", Type: "table of strings", Default: "none", Doc: "Which variables."},
		{Name: "key", Type: "secret", Default: "required", Doc: "The key."},
		{Name: "parts", Type: "list of tables", Default: "none", Doc: "Which parts.", Of: []Key{{Name: "on", Type: "true or false", Default: "true", Doc: "Whether it is on."}}},
		{Name: "monitor", Type: "table", Default: "none", Doc: "The test."},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Key{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, k := range got {
		if wrong := k.Contradiction(); (wrong != "") != (k.Name == "pause") {
			t.Errorf("%s: contradiction %q", k.Name, wrong)
		}
	}
}
