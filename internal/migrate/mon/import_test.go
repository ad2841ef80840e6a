package mon

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/imported anew")

// TestImported compares TOML and report of each fixture with those kept, which
// -update writes: read the difference before committing it.
func TestImported(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/mon/*.cf")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d fixtures: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".cf")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			imported, err := Import(t.Context(), filepath.Base(file), text)
			if err != nil {
				t.Fatal(err)
			}
			kept(t, filepath.Join("testdata", "imported", name+".toml"), string(imported.TOML))
			kept(t, filepath.Join("testdata", "imported", name+".txt"), imported.Report())
		})
	}
}

func kept(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-kept +now):\n%s", file, diff)
	}
}
