package exec

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/monitord/monitord/alerts"
)

// TestNotifyScript calls a script as keepalived 2.2 does: its own arguments first,
// then INSTANCE, the name, the state and the priority (notify in keepalived.conf(5)).
func TestNotifyScript(t *testing.T) {
	a, folder := shell(t, `for i; do echo "$i"; done > args; env | grep -E "^(MONITORD_STATE|MONITORD_PRIORITY|MON_GROUP)=" | sort > env`, func(c *Config) {
		c.Style, c.Args = "keepalived", []string{"own", "a b"}
	})
	e := alerts.Event{
		Kind: alerts.Up, Group: "web-vip", Service: "director",
		Env: []string{"MONITORD_STATE=MASTER", "MONITORD_PRIORITY=150"},
	}
	if err := a.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"args": "own\na b\nINSTANCE\nweb-vip\nMASTER\n150\n",
		"env":  "MONITORD_PRIORITY=150\nMONITORD_STATE=MASTER\nMON_GROUP=web-vip\n",
	} {
		got, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", file, got, err, want)
		}
	}
}

func TestNotifyScriptOfNoTransition(t *testing.T) {
	a, folder := shell(t, "touch called", func(c *Config) { c.Style = "keepalived" })
	if err := a.Send(t.Context(), failure()); !errors.Is(err, alerts.ErrDelivered) {
		t.Errorf("a watch's event: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "called")); err == nil {
		t.Error("the script was called without a state")
	}
	if _, err := configured(folder, func(c *Config) { c.Style = "heartbeat" }); err == nil {
		t.Error("style heartbeat is accepted")
	}
}
