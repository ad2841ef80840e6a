//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/debian"
	"github.com/monitord/monitord/internal/fencing"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/timeup"
	_ "github.com/monitord/monitord/resources/vip"
)

// fenced has another director powered off by a fence agent: its program, the password
// and the address at its power switch are to be filled in.
const fenced = `
[cluster]
key_file = %q
node = [{ name = "dr1", address = ["10.2.0.11"] }, { name = "dr2", address = ["10.2.0.12"] }]

[fence]
gateway = ["10.2.0.1"]

[fence.stonith]
program  = %q
options  = { ip = "{plug}", username = "monitord", systems_uri = "/redfish/v1/Systems/1", ssl_insecure = "1", power_timeout = "1" }
password = %q
plug     = { dr2 = %q }
timeout  = "5m"

[[group]]
name     = "web"
resource = [{ type = "vip", address = "10.2.0.100" }]
`

// A management is what a machine is powered off by: a controller that speaks Redfish, as
// far as an agent needs it.
type management struct {
	deaf bool   // promises everything, and does nothing
	over func() // is called when the agent tries once more what was in vain

	mu    sync.Mutex // protects what follows
	state string
	vain  int
}

// inVain counts what the agent asks for and does not get.
func (m *management) inVain() {
	if m.vain++; m.vain == 2 {
		m.over()
	}
}

const resetPath = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"

func (m *management) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name, password, _ := r.BasicAuth()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case name != "monitord" || password != "secret":
		m.inVain()
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, `{"error": {"message": "who are you?"}}`)
	case r.Method == http.MethodPost && r.URL.Path == resetPath:
		var order struct{ ResetType string }
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		switch {
		case order.ResetType != "ForceOff":
			w.WriteHeader(http.StatusBadRequest)
		case m.deaf:
			m.inVain()
		default:
			m.state = "Off"
		}
	case r.Method == http.MethodGet && r.URL.Path == "/redfish/v1/Systems/1":
		_, _ = fmt.Fprintf(w, `{"PowerState": %q, "Actions": {"#ComputerSystem.Reset": {"target": %q}}}`, m.state, resetPath)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// Debian's fence_redfish, unmodified, powers a director off as a configuration says, and
// what it answers is believed only if it says that the machine is off.
func TestEndToEndFenceAgent(t *testing.T) {
	program := fenceAgent(t, "fence_redfish")
	for name, c := range map[string]struct {
		machine  *management
		password string
		why      string // it is not off
	}{
		"obeyed":           {&management{state: "On"}, "secret", ""},
		"off already":      {&management{state: "Off"}, "secret", ""},
		"promised only":    {&management{state: "On", deaf: true}, "secret", "Timed out waiting to power OFF"},
		"a wrong password": {&management{state: "On"}, "guess", "Unable to get PowerState"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := timeup.New(t.Context())
			c.machine.over = ctx.End
			server := httptest.NewTLSServer(c.machine)
			err := powerOff(ctx, t, program, c.password, strings.TrimPrefix(server.URL, "https://"))
			server.Close()
			if c.why == "" {
				if err != nil || c.machine.state != "Off" {
					t.Errorf("error %v, the machine is %s", err, c.machine.state)
				}
				return
			}
			if !errors.Is(err, fencing.ErrUnverified) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("error %v, want %q in it", err, c.why)
			}
		})
	}
}

// powerOff does to dr2 what dr1 does, configured to call this program.
func powerOff(ctx context.Context, t *testing.T, program, password, plug string) error {
	t.Helper()
	folder := t.TempDir()
	key, file := filepath.Join(folder, "key"), filepath.Join(folder, "monitord.toml")
	err := errors.Join(os.WriteFile(key, []byte(heartbeat.NewKey()), 0o600),
		os.WriteFile(file, fmt.Appendf(nil, fenced, key, program, password, plug), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	site, err := config.Load(file, config.Host{Node: "dr1"})
	if err != nil {
		t.Fatal(err)
	}
	s := site.Cluster.Stonith
	return fencing.NewStonith(fencing.Program{Path: s.Program, Call: s.Call, Timeout: s.Timeout}).PowerOff(ctx, "dr2")
}

// fenceAgent is a program that runs an agent of Debian's package, with the modules of the
// same package.
func fenceAgent(t *testing.T, name string) string {
	t.Helper()
	root := debian.Tree(t, "fence-agents")
	debian.Setenv(t, root)
	python := "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		python = filepath.Join(root, python)
	}
	text := fmt.Sprintf("#!/bin/sh\nexport LD_LIBRARY_PATH=%q PYTHONPATH=%q PYTHONDONTWRITEBYTECODE=1\nexec %q %q\n",
		os.Getenv("LD_LIBRARY_PATH"), filepath.Join(root, "usr/share/fence")+":"+filepath.Join(root, "usr/lib/python3/dist-packages"),
		python, filepath.Join(root, "usr/sbin", name))
	path := filepath.Join(t.TempDir(), name)
	// A fork between open and close would inherit the file (ETXTBSY).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
