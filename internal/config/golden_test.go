package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the messages of testdata/invalid anew")

// environment is what the files under testdata see.
func environment(name string) (string, bool) {
	value, ok := map[string]string{"HOME_DIR": "/home/monitord", "PORT": "8080", "EMPTY": "", "SECRET": "from the environment"}[name]
	return value, ok
}

func testHost() Host { return Host{Hostname: "director1", Env: environment, AnyNode: true} }

// TestInvalid reads one file for each mistake and compares the messages with the
// .txt beside it, which -update writes.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 45 {
		t.Fatalf("only %d files in testdata/invalid", len(files))
	}
	for name, mode := range map[string]os.FileMode{"open.key": 0o644, "empty.key": 0o600} { // git does not keep it
		if err := os.Chmod("testdata/invalid/"+name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			got := messages(t, file)
			golden := strings.TrimSuffix(file, ".toml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// messages loads a file that must be refused.
func messages(t *testing.T, file string) string {
	t.Helper()
	host := testHost()
	host.AnyNode = !strings.Contains(file, "cluster-not-in-list")
	site, err := Load(file, host)
	if err == nil {
		t.Fatal("the file is accepted")
	}
	if site != nil {
		t.Error("there is a site beside the error")
	}
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	return err.Error() + "\n"
}
