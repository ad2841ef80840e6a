package kernel

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/netif"
)

// TestKernelUnload takes the module away while it is in use, and brings it back:
// services, sysctls and daemons are as before.
func TestKernelUnload(t *testing.T) {
	d := newDirector(t, Settings{})
	if os.Getenv(kernellab.ToolsVariable) != "1" {
		t.Skip("unloading ip_vs is for the lab's own machine only: make e2e")
	}
	s := service(80, 1)
	s.Persistence = time.Minute
	table := lvs.Table{s, service(25, 1)}
	d.set(t, table)

	unload(t) // which the next call makes up for, by asking for it
	d.set(t, table)
	d.restored(t, table)

	unload(t)
	const helper = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(helper)
	if err == nil {
		err = os.WriteFile(helper, []byte("/bin/false"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := os.WriteFile(helper, before, 0o600); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	for _, next := range []lvs.Table{table, nil, table} {
		if err := d.Set(t.Context(), next); !errors.Is(err, ipvs.ErrNoKernel) {
			t.Errorf("Set without ip_vs: %v", err)
		}
	}
	restore()
	d.set(t, table)
	d.restored(t, table)
}

func (d *director) restored(t *testing.T, table lvs.Table) {
	t.Helper()
	if diff, err := d.Diff(t.Context(), table); err != nil || len(diff) > 0 {
		t.Errorf("left to do %q, %v", texts(diff), err)
	}
	if value, err := netif.Sysctl(expireTemplates).Get(); err != nil || value != on {
		t.Errorf("%s = %s, %v", expireTemplates, value, err)
	}
	if len(d.told) != 1 || len(d.told[0].Changes) != 4 || len(d.told[0].Other) != 1 {
		t.Errorf("told %+v, want the services and the sysctl", d.told)
	}
	d.told = nil
}

// unload flushes the table, for a module with services is in use, and waits for
// the namespaces of earlier tests, whose end the kernel defers.
func unload(t *testing.T) {
	t.Helper()
	ipvsadm(t, "", "-C")
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Minute)
	for {
		holders, err := os.ReadDir("/sys/module/ip_vs/holders")
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"-r"}
		for _, h := range holders {
			args = append(args, h.Name())
		}
		out, err := exec.CommandContext(t.Context(), "modprobe", append(args, "ip_vs")...).CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("modprobe %v: %v\n%s", args, err, out)
		}
	}
}
