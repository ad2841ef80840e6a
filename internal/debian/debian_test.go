package debian

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFiles(t *testing.T) {
	got := files([]byte(`'http://archive.example/debian/pool/main/m/mon/mon_1.3.6-4_amd64.deb' mon_1.3.6-4_amd64.deb 287044 SHA256:ab
Reading package lists...
'http://archive.example/debian/pool/main/x/x_1%3a2_all.deb' x_1%3a2_all.deb 10 SHA256:cd
'http://archive.example/debian/dists/InRelease' InRelease 0
`))
	if diff := cmp.Diff([]string{"mon_1.3.6-4_amd64.deb", "x_1%3a2_all.deb"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestExactPackage(t *testing.T) {
	for deb, want := range map[string]string{
		"mon_1.3.6-4_amd64.deb":                  "mon:amd64=1.3.6-4",
		"libtime-period-perl_1%3a1.25-1_all.deb": "libtime-period-perl=1:1.25-1",
	} {
		if got, err := exactPackage(deb); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", deb, got, err, want)
		}
	}
	for _, deb := range []string{"mon.deb", "mon_1_amd64_x.deb", "mon_%zz_all.deb"} {
		if got, err := exactPackage(deb); err == nil {
			t.Errorf("%s: got %q, want an error", deb, got)
		}
	}
}

// A tree that is there needs neither apt nor a network.
func TestTreeIsFoundAgain(t *testing.T) {
	t.Setenv(CacheVariable, t.TempDir())
	c := cache{folder: os.Getenv(CacheVariable)}
	for folder, file := range map[string]string{
		"requests":           requestName([]string{"b", "a", "b"}),
		"trees/0123/usr/bin": "x",
	} {
		if err := os.MkdirAll(c.path(folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path(folder, file), []byte("0123"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := Tree(t, "a", "b")
	if root != c.path("trees", "0123") {
		t.Errorf("got %q", root)
	}
	Setenv(t, root)
	if first, _, _ := strings.Cut(os.Getenv("PATH"), ":"); first != filepath.Join(root, "usr/bin") {
		t.Errorf("PATH is %q", os.Getenv("PATH"))
	}
}

func TestDebianTree(t *testing.T) {
	root := Tree(t, "mon")
	for _, file := range []string{"usr/lib/mon/mon.d/tcp.monitor", "usr/share/perl5/Time/Period.pm"} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Error(err)
		}
	}
	list, err := os.ReadFile(root + ".txt")
	if err != nil || !slices.ContainsFunc(strings.Fields(string(list)), func(f string) bool { return strings.HasPrefix(f, "mon_") }) {
		t.Errorf("the list of packages is %q, %v", list, err)
	}
}
