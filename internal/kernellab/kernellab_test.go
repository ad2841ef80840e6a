package kernellab

import (
	"fmt"
	"testing"
)

// A recorder is a test whose ending is looked at.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper()                          {}
func (r *recorder) Fatal(args ...any)                { r.failed = fmt.Sprint(args...) }
func (r *recorder) Skipf(format string, args ...any) { r.skipped = fmt.Sprintf(format, args...) }

// A missing IPVS skips a test, but not one that is promised; with IPVS the test
// goes on in either case.
func TestRequire(t *testing.T) {
	missing := Probe() != nil
	for _, required := range []bool{false, true} {
		t.Setenv(RequireVariable, map[bool]string{true: "1"}[required])
		r := &recorder{TB: t}
		Require(r)
		if got, want := r.failed != "", missing && required; got != want {
			t.Errorf("required %v: failed with %q, want %v", required, r.failed, want)
		}
		if got, want := r.skipped != "", missing && !required; got != want {
			t.Errorf("required %v: skipped with %q, want %v", required, r.skipped, want)
		}
	}
}

// The lab itself is where this has to be true.
func TestKernelProbe(t *testing.T) {
	Require(t)
	if err := Probe(); err != nil {
		t.Error(err)
	}
}
