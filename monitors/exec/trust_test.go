package exec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/monitors"
)

// Root does not run what others may write, whether that was so when the configuration
// was read, or came later; and mon's quirks make no verdict of it.
func TestUntrusted(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("only root is kept from running others' programs")
	}
	for _, compat := range []bool{false, true} {
		ran := filepath.Join(t.TempDir(), "ran")
		folder := script(t, "x", "#!/bin/sh\ntouch "+ran+"\n", 0o700)
		m, err := configured(folder, func(c *Config) { c.Program = "x" })
		if err != nil {
			t.Fatal(err)
		}
		if compat {
			m = compatible(m)
		}
		if err := os.Chmod(folder, 0o777); err != nil { //nolint:gosec // that is the mistake
			t.Fatal(err)
		}
		want := folder + " (mode drwxrwxrwx): everybody may write it"
		r, err := m.Check(t.Context(), monitors.Request{Group: "g", Service: "s", Hosts: []string{"a"}})
		if !errors.Is(err, monprog.ErrUntrusted) || !strings.Contains(err.Error(), want) || len(r.Hosts) > 0 {
			t.Errorf("compat %t: the run gives %+v, %v; want the error %q", compat, r, err, want)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Errorf("compat %t: the program was run", compat)
		}
		if _, err := configured(folder, func(c *Config) { c.Program = "x" }); err == nil || !strings.Contains(err.Error(), `mend it with "chmod go-w `+folder+`"`) {
			t.Errorf("the configuration gives %v", err)
		}
	}
}
