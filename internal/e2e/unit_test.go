//go:build linux

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

// The unit that is shipped runs a director under a real systemd, with a real watchdog:
// what it forbids is nothing that is needed. A restart, and a crash, leave the address
// where it is; a stop gives it up and ends the watch.
func TestKernelUnit(t *testing.T) {
	dog := loadSoftdog(t)
	n := hosts.New(t)
	dr1 := n.Host("dr1")
	dr1.Join(n.Segment("lan"), "10.2.0.11/24")
	m := bootSystemd(t, dr1, shipped(t))
	site := filepath.Join(fmt.Sprintf("/proc/%d/root", m.process), unitSite)
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(site, name)
		if err := errors.Join(os.MkdirAll(site, 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(hosts.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	write("monitord", string(binary), 0o755)
	good := fmt.Sprintf(guarded, dog.device)
	write("monitord.toml", good, 0o644)
	log := func() string {
		text, _ := os.ReadFile(filepath.Join(site, "log")) // not there before the start
		return string(text)
	}
	defer func() {
		if t.Failed() {
			t.Logf("monitord said:\n%s", log())
		}
	}()

	m.must(t, "start", "monitord")
	awaitAddress(t, dr1, true)
	dog.is(t, "active")
	m.must(t, "reload", "monitord")
	write("monitord.toml", good+"\n[[group]]\n", 0o644)
	if out, err := m.ask("reload", "monitord"); err == nil {
		t.Errorf("a broken configuration is read again: %s", out)
	}
	write("monitord.toml", good, 0o644)
	for i, how := range [][]string{{"restart", "monitord"}, {"kill", "--signal=KILL", "monitord"}} {
		m.must(t, how...)
		hosts.Eventually(t, patience, func() error {
			if got := strings.Count(log(), "its address was found here, inside its lease"); got != i+1 {
				return fmt.Errorf("after %q the address was found %d times", how, got)
			}
			return nil
		})
	}
	dog.is(t, "active")
	m.must(t, "stop", "monitord")
	awaitAddress(t, dr1, false)
	dog.is(t, "inactive")
	if dog.said(t, triggered) {
		t.Error("the machine would have been reset")
	}
}

// unitSite is where the program and its configuration are, as the unit sees it.
const unitSite = "/run/site"

// shipped is the unit of contrib, word for word but for the folders that a test does not
// write into, and with its log in a file.
func shipped(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../contrib/systemd/monitord.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.NewReplacer("/usr/sbin/", unitSite+"/", "/etc/monitord/", unitSite+"/").Replace(string(text))
	if strings.Count(unit, unitSite) < 3 {
		t.Fatalf("the unit has other paths:\n%s", text)
	}
	return map[string]string{
		"monitord.service":            unit,
		"monitord.service.d/log.conf": "[Service]\nStandardOutput=append:" + unitSite + "/log\nStandardError=append:" + unitSite + "/log\n",
	}
}

// must calls systemctl, which has to succeed.
func (m *manager) must(t *testing.T, args ...string) {
	t.Helper()
	if _, err := m.ask(args...); err != nil {
		t.Fatal(err)
	}
}
