package period

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// lazy names the specifications that Time::Period calls malformed at some times
// and not at others, with the reason for what is expected here.
var lazy = map[string]string{
	"wd {Mon}, bogus {1}": "Time::Period stops at the first sub-period that matches, so on Mondays it does not see the second; Parse refuses it on every day",
}

// TestGoldenTimePeriod compares with what Time::Period 1.25 said. The vectors are
// read from the folder MONITORD_GOLDEN if that is set.
func TestGoldenTimePeriod(t *testing.T) {
	dir := os.Getenv("MONITORD_GOLDEN")
	if dir == "" {
		dir = "testdata"
	}
	text, err := os.ReadFile(filepath.Join(dir, "_timeperiod_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Vectors []struct {
			Spec    string         `json:"spec"`
			Results map[string]int `json:"results"`
		} `json:"vectors"`
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Vectors) < 40 {
		t.Fatalf("only %d vectors in %s", len(golden.Vectors), dir)
	}
	for _, v := range golden.Vectors {
		t.Run(v.Spec, func(t *testing.T) { compareGolden(t, v.Spec, v.Results) })
	}
}

func compareGolden(t *testing.T, spec string, results map[string]int) {
	p, err := Parse(spec)
	malformed := 0
	for epoch, want := range results {
		seconds, convErr := strconv.ParseInt(epoch, 10, 64)
		if convErr != nil {
			t.Fatal(convErr)
		}
		at := time.Unix(seconds, 0).UTC()
		switch {
		case want == -1:
			malformed++
		case err == nil && p.Contains(at) != (want == 1):
			t.Errorf("%q contains %s: got %v, want %v", spec, at, p.Contains(at), want == 1)
		}
	}
	reason := lazy[spec]
	switch mixed := malformed > 0 && malformed < len(results); {
	case mixed && reason == "":
		t.Errorf("%q is malformed at some times only, and not listed", spec)
	case !mixed && reason != "":
		t.Errorf("%q is listed as malformed at some times only, and is not", spec)
	case malformed > 0 && err == nil:
		t.Errorf("Parse(%q) accepts a malformed period", spec)
	case malformed == 0 && err != nil:
		t.Errorf("Parse(%q): %v", spec, err)
	}
}
