package link

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/resources"
	"github.com/monitord/monitord/resources/resourcetest"
)

func built(t testing.TB, path string) resources.Resource {
	t.Helper()
	r, err := build(Config{Path: path, Target: "/etc/shop/cron"}, resources.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestConformance holds the resource to the contract.
func TestConformance(t *testing.T) {
	at := func(path ...string) func(t testing.TB) func() resources.Resource {
		return func(t testing.TB) func() resources.Resource {
			whole := filepath.Join(append([]string{t.TempDir()}, path...)...)
			return func() resources.Resource { return built(t, whole) }
		}
	}
	resourcetest.Run(t, resourcetest.Subject{New: at("link"), Broken: at("no", "such", "folder")})
}

// What somebody else put there stays.
func TestInTheWay(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a file":       func(path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
		"another link": func(path string) error { return os.Symlink("/elsewhere", path) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "link")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			r := built(t, path)
			if s, err := r.Status(t.Context()); s != resources.Failed || err != nil {
				t.Errorf("status %v, %v", s, err)
			}
			if err := r.Start(t.Context()); err == nil {
				t.Error("it is started")
			}
			if err := r.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("it is gone: %v", err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	for key, c := range map[string]Config{"path": {Path: "here", Target: "there"}, "target": {Path: "/here"}} {
		if _, err := build(c, resources.Site{}); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
