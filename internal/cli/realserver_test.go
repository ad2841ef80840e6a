package cli

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/realserver"
)

// unitKeys are the keys that the units may have, by section: a key that systemd
// does not know it ignores, with a line in the journal.
func unitKeys() map[string][]string {
	return map[string][]string{
		"Unit": {"Description", "After", "Wants", "StartLimitIntervalSec", "StartLimitBurst"},
		"Service": {
			"Type", "RemainAfterExit", "EnvironmentFile", "ExecStart", "ExecReload", "ExecStop", "Restart", "RestartSec",
			"RestartKillSignal", "KillMode", "TimeoutStartSec", "TimeoutStopSec", "RuntimeDirectory", "StateDirectory", "StateDirectoryMode",
			"LimitNOFILE", "CPUWeight", "CapabilityBoundingSet", "AmbientCapabilities", "NoNewPrivileges", "ProtectSystem", "ProtectHome",
			"PrivateTmp", "ProtectControlGroups", "ProtectClock", "ProtectHostname", "ProtectKernelModules",
			"ProtectKernelLogs", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
			"LockPersonality", "MemoryDenyWriteExecute", "SystemCallArchitectures",
		},
		"Install": {"WantedBy"},
	}
}

// parseUnit reads "Section.Key" to value.
func parseUnit(text string) (map[string]string, error) {
	found, section := map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch key, value, isKey := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section = line[1 : len(line)-1]
		case !isKey:
			return nil, fmt.Errorf("neither key nor section: %q", line)
		case !slices.Contains(unitKeys()[section], key):
			return nil, fmt.Errorf("unknown key %q in [%s]", key, section)
		case found[section+"."+key] != "":
			return nil, fmt.Errorf("key %q twice", key)
		default:
			found[section+"."+key] = value
		}
	}
	return found, nil
}

func TestUnits(t *testing.T) {
	files, err := filepath.Glob("../../contrib/systemd/*.service")
	if err != nil || len(files) != 2 {
		t.Fatalf("units %q, %v, want two", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		unit, err := parseUnit(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(unit)) {
			if strings.HasPrefix(key, "Service.Exec") {
				if err := understood(unit[key]); err != nil {
					t.Errorf("%s: %s=%s: %v", file, key, unit[key], err)
				}
			}
		}
		for _, key := range []string{"Unit.Description", "Service.Type", "Service.ExecStart", "Install.WantedBy"} {
			if unit[key] == "" {
				t.Errorf("%s: no %s", file, key)
			}
		}
		if dir := unit["Service.StateDirectory"]; "/var/lib/"+dir != realserver.DefaultStateDir {
			t.Errorf("%s: StateDirectory %q, but the state is in %s", file, dir, realserver.DefaultStateDir)
		}
		if dir := unit["Service.RuntimeDirectory"]; dir != "" && "/run/"+dir != filepath.Dir(DefaultSocket) {
			t.Errorf("%s: RuntimeDirectory %q, but the socket is %s", file, dir, DefaultSocket)
		}
	}
}

// understood says whether the command line has a command with such flags.
func understood(line string) error {
	line = strings.NewReplacer("%i", "192.0.2.1", "$OPTIONS", "").Replace(line)
	words := strings.Fields(line)
	if words[0] != "/usr/sbin/monitord" {
		return fmt.Errorf("the program is %s", words[0])
	}
	c, rest, err := newRoot().Find(words[1:])
	if err != nil {
		return err
	}
	if !c.Runnable() || c.HasSubCommands() {
		return fmt.Errorf("%s is no command that does something", c.CommandPath())
	}
	return c.ParseFlags(rest)
}

func TestUnitsCanFail(t *testing.T) {
	for _, text := range []string{"[Service]\nExecStrat=x", "[Service]\nno key", "[Service]\nType=exec\nType=exec", "Type=exec"} {
		if unit, err := parseUnit(text); err == nil {
			t.Errorf("parseUnit(%q) = %v, want an error", text, unit)
		}
	}
	for _, line := range []string{"/usr/sbin/monitord realserver", "/usr/sbin/monitord realserver upp", "/usr/sbin/monitord run --configuration x", "/bin/true"} {
		if understood(line) == nil {
			t.Errorf("%q is understood", line)
		}
	}
}
