//go:build linux

package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

// saved is the table of a director as ipvsadm saves it, in a fixed order.
func saved(director *hosts.Host) []string {
	return normal(director.Output("ipvsadm", "-S", "-n"))
}

// A table that somebody flushed, or changed otherwise, is repaired at the next
// comparison, and the log says what was done. Clients do not notice.
func TestKernelDriftIsRepaired(t *testing.T) {
	x := start(t, shop())
	right := saved(x.DR1)
	for _, drift := range []struct {
		name, ipvsadm, repair string
	}{
		{"flushed", "-C", "-A -t 10.2.0.100:80 -s rr"},
		{"service removed", "-D -t 10.2.0.100:80", "-a -t 10.2.0.100:80 -r 10.2.0.22:80 -g -w 1"},
		{"server removed", "-d -t 10.2.0.100:80 -r 10.2.0.21:80", "-a -t 10.2.0.100:80 -r 10.2.0.21:80 -g -w 1"},
		{"weight changed", "-e -t 10.2.0.100:80 -r 10.2.0.21:80 -g -w 9", "-e -t 10.2.0.100:80 -r 10.2.0.21:80 -g -w 1"},
		{"way changed", "-e -t 10.2.0.100:80 -r 10.2.0.21:80 -m -w 1", "-e -t 10.2.0.100:80 -r 10.2.0.21:80 -g -w 1"},
		{"scheduler changed", "-E -t 10.2.0.100:80 -s wlc", "-E -t 10.2.0.100:80 -s rr"},
		{"persistence set", "-E -t 10.2.0.100:80 -s rr -p 50", "-E -t 10.2.0.100:80 -s rr"},
		{"server added", "-a -t 10.2.0.100:80 -r 10.2.0.99:80 -g -w 1", "-d -t 10.2.0.100:80 -r 10.2.0.99:80"},
	} {
		t.Run(drift.name, func(t *testing.T) {
			before := len(x.daemon.Log())
			x.DR1.Output("ipvsadm", strings.Fields(drift.ipvsadm)...)
			hosts.Eventually(t, patience, func() error {
				if diff := cmp.Diff(right, saved(x.DR1)); diff != "" {
					return fmt.Errorf("-right, +table:\n%s", diff)
				}
				return nil
			})
			hosts.Eventually(t, patience, func() error {
				for line := range strings.Lines(x.daemon.Log()[before:]) {
					if containsAll(line, []string{"somebody changed the kernel's table, it is mended", drift.repair}) {
						return nil
					}
				}
				return fmt.Errorf("no line of the log says %q", drift.repair)
			})
			x.served(t)
		})
	}
}

// served fails the test unless ten clients are all served.
func (x *site) served(t *testing.T) {
	t.Helper()
	for _, a := range hosts.Failures(x.Client.Client().HTTP(t.Context(), shopURL, 10)) {
		t.Error(a)
	}
}

// The comparison is made within the time that is configured.
func TestKernelDriftIsRepairedInTime(t *testing.T) {
	x := start(t, shop())
	x.DR1.Output("ipvsadm", "-C")
	p := x.probe(t)
	more(t, p, 1, "")
	x.await(t, 1, 1)
	failed := hosts.Failures(p.Stop())
	// Once a second, and the machine may be slow.
	if n := len(failed); n > 0 && failed[n-1].At.Sub(failed[0].At).Seconds() > 5 {
		t.Errorf("clients were refused from %v to %v, want at most 1 s", failed[0].At, failed[n-1].At)
	}
}

// What others added is left alone, unless everything is said to be ours.
func TestKernelOthersServicesStay(t *testing.T) {
	x := start(t, shop())
	x.DR1.Output("ipvsadm", "-A", "-t", "10.2.0.100:25", "-s", "wlc")
	x.DR1.Output("ipvsadm", "-a", "-t", "10.2.0.100:25", "-r", "10.2.0.21:25", "-g")
	foreign := "-A -t 10.2.0.100:25 -s wlc"
	x.reconciled(t)
	if !slices.Contains(saved(x.DR1), foreign) {
		t.Fatalf("somebody else's service is gone")
	}
	if others := tableOf(t, x.daemon).Others; len(others) != 1 || others[0].Service != "tcp 10.2.0.100:25" || len(others[0].Servers) != 1 {
		t.Errorf("others' services are %+v", others)
	}
	x.daemon.Configure(t, strings.Replace(configuration(x.service), "[lvs]\n", "[lvs]\nown = \"all\"\n", 1))
	if err := x.daemon.Reload(); err != nil {
		t.Fatal(err)
	}
	hosts.Eventually(t, patience, func() error {
		if table := saved(x.DR1); slices.Contains(table, foreign) {
			return fmt.Errorf("somebody else's service is still there: %q", table)
		}
		return nil
	})
	x.await(t, 1, 1)
}

// reconciled waits until the kernel's table has been compared: something else is
// out of order, and repaired.
func (x *site) reconciled(t *testing.T) {
	t.Helper()
	r := x.real[0].address.String()
	x.DR1.Output("ipvsadm", "-e", "-t", x.address.String(), "-r", r, "-g", "-w", "9")
	x.await(t, 1, 1)
}
