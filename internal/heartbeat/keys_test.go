package heartbeat

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func keyFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return path
}

func TestLoadKeys(t *testing.T) {
	first, second := NewKey(), NewKey()
	if first == second {
		t.Fatal("NewKey made the same key twice")
	}
	keys, err := LoadKeys(keyFile(t, first, 0o600), keyFile(t, "# the old one\n\n"+second, 0o400))
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || keys[0] == keys[1] || keys[0].id() == keys[1].id() {
		t.Errorf("got %d keys, want two different ones", len(keys))
	}
	if want, _ := parseKey(first); keys[0] != want {
		t.Error("the first file's key is not the first")
	}
	for _, format := range []string{"%v", "%s", "%#v", "%+v"} {
		if text := fmt.Sprintf(format, keys[0]); text != "(a key)" {
			t.Errorf("%s prints %q", format, text)
		}
	}
}

func TestLoadKeysRefuses(t *testing.T) {
	key := NewKey()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	other := keyFile(t, key, 0o600)
	if os.Geteuid() == 0 {
		if err := os.Chown(other, 12345, -1); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		paths []string
		want  string
	}{
		"no file":          {nil, "no key file"},
		"a missing one":    {[]string{"/nonexistent/key"}, "key file /nonexistent/key: no such file"},
		"read by group":    {[]string{keyFile(t, key, 0o640)}, "mode 0640 lets others at it: chmod 600"},
		"written by all":   {[]string{keyFile(t, key, 0o602)}, "chmod 600"},
		"an executable":    {[]string{keyFile(t, key, 0o700)}, "chmod 600"},
		"a directory":      {[]string{t.TempDir()}, "no regular file"},
		"a pipe":           {[]string{fifo}, "no regular file"},
		"empty":            {[]string{keyFile(t, "\n# nothing\n", 0o600)}, "it is empty"},
		"too short":        {[]string{keyFile(t, "c2hvcnQ=\n", 0o600)}, "32 bytes in base64"},
		"no base64":        {[]string{keyFile(t, "secret!\n", 0o600)}, "monitord keygen"},
		"two in one":       {[]string{keyFile(t, key+NewKey(), 0o600)}, "one key"},
		"the same twice":   {[]string{keyFile(t, key, 0o600), keyFile(t, key, 0o600)}, "the same key as"},
		"somebody else's":  {[]string{other}, "another user"},
		"endless garbage":  {[]string{keyFile(t, strings.Repeat("x", 1<<20), 0o600)}, "one key"},
		"second is broken": {[]string{keyFile(t, key, 0o600), keyFile(t, "", 0o600)}, "it is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "somebody else's" && os.Geteuid() != 0 && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
				t.Skip("only root can make a file of another user")
			}
			_, err := LoadKeys(test.paths...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), strings.TrimSpace(key)) {
				t.Error("the error tells the key")
			}
		})
	}
}
