package wording

import (
	"strings"
	"testing"
)

// What it does is tested where it is done; this is that it is the same.
func TestSameAsInside(t *testing.T) {
	if len(Samples()) == 0 {
		t.Fatal("no samples")
	}
	for _, e := range Samples() {
		if line := New(e, "director1").Headline(); !strings.Contains(line, e.Group+":"+e.Service) || strings.Contains(line, "\n") {
			t.Errorf("%s: %q", e.Kind, line)
		}
	}
}
