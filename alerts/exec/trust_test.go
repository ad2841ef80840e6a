package exec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/monprog"
)

// Root does not run what others may write; the alert stays undelivered, and is tried
// again, so that it goes out once that is mended.
func TestUntrusted(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("only root is kept from running others' programs")
	}
	a, folder := shell(t, "touch ran", nil)
	program := a.(*Alert).Program()
	if err := os.Chmod(program, 0o757); err != nil { //nolint:gosec // that is the mistake
		t.Fatal(err)
	}
	err := a.Send(t.Context(), failure())
	if !errors.Is(err, monprog.ErrUntrusted) || errors.Is(err, alerts.ErrDelivered) || !strings.Contains(err.Error(), program+" (mode -rwxr-xrwx): everybody may write it") {
		t.Errorf("it was sent, or is taken for delivered: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "ran")); err == nil {
		t.Error("the program was run")
	}
	if _, err := configured(filepath.Dir(program), func(c *Config) { c.Program = program }); !errors.Is(err, monprog.ErrUntrusted) {
		t.Errorf("the configuration gives %v", err)
	}
	if err := os.Chmod(program, 0o755); err != nil { //nolint:gosec // and mended
		t.Fatal(err)
	}
	if err := a.Send(t.Context(), failure()); err != nil {
		t.Errorf("after chmod: %v", err)
	}
}
