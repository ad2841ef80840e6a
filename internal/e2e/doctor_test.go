//go:build linux

package e2e_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/monitord/monitord/internal/doctor"
	"github.com/monitord/monitord/internal/e2e/hosts"
)

// diagnosis is what "monitord doctor" finds wrong. A doctor that finds an error
// ends with 1, otherwise with 0.
func diagnosis(t *testing.T, h *hosts.Host, args ...string) []doctor.Finding {
	t.Helper()
	out, err := h.RunMonitord(t, append([]string{"doctor", "--json"}, args...)...)
	var all []doctor.Finding
	if bad := json.Unmarshal([]byte(out), &all); bad != nil {
		t.Fatalf("%v\n%s\n%v", bad, out, err)
	}
	isError := slices.ContainsFunc(all, func(f doctor.Finding) bool { return f.Severity == doctor.Error })
	if isError != (err != nil) {
		t.Errorf("the doctor ended with %v, having found %+v", err, all)
	}
	return slices.DeleteFunc(all, func(f doctor.Finding) bool { return f.Severity == doctor.OK })
}

// found fails the test unless one error has all of these texts; the commands that
// mend it are returned.
func found(t *testing.T, all []doctor.Finding, texts ...string) []string {
	t.Helper()
	for _, f := range all {
		if f.Severity == doctor.Error && containsAll(f.What, texts) {
			return f.Mend
		}
	}
	t.Errorf("no error about %q among %+v", texts, all)
	return nil
}

// A director with ip_forward off, whose virtual address a real server answers ARP
// for, is told so, and healthy once it has done what it is told.
func TestKernelDoctor(t *testing.T) {
	x := exampleSite(t)
	nat, err := filepath.Abs("../../etc/lvs-nat.toml")
	if err != nil {
		t.Fatal(err)
	}
	if all := diagnosis(t, x.DR1, "-c", nat); len(errorsOf(all)) > 0 {
		t.Errorf("found in a director that is well: %+v", errorsOf(all))
	}
	x.DR1.Sysctl("net.ipv4.ip_forward", "0")
	x.Web[0].AddAddress("eth0", hosts.VIP+"/32")
	all := diagnosis(t, x.DR1, "-c", nat)
	found(t, all, hosts.VIP, x.Web[0].Cable(0).MAC.String())
	for _, command := range found(t, all, "net.ipv4.ip_forward") {
		x.DR1.Output("sh", "-c", command)
	}
	x.Web[0].DelAddress("eth0", hosts.VIP+"/32")
	if all := diagnosis(t, x.DR1, "-c", nat); len(errorsOf(all)) > 0 {
		t.Errorf("found after it was mended: %+v", errorsOf(all))
	}
}

func errorsOf(all []doctor.Finding) []doctor.Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f doctor.Finding) bool { return f.Severity != doctor.Error })
}

// A real server without the virtual address, and one that answers ARP for it, are
// told so.
func TestKernelDoctorOfARealServer(t *testing.T) {
	x := exampleSite(t)
	args := []string{"--realserver", "--vip", hosts.VIP, "--port", "80"}
	x.Web[0].ServeHTTP(":80")
	found(t, diagnosis(t, x.Web[0], args...), hosts.VIP)
	undo := x.realServers(t, "dr", hosts.VIP)
	if all := errorsOf(diagnosis(t, x.Web[0], args...)); len(all) > 0 {
		t.Errorf("found in a real server that is well: %+v", all)
	}
	undo()
	x.Web[0].AddAddress("lo", hosts.VIP+"/32")
	all := diagnosis(t, x.Web[0], args...)
	found(t, all, "arp_ignore")
	for _, f := range errorsOf(all) {
		for _, command := range f.Mend {
			x.Web[0].Output("sh", "-c", command)
		}
	}
	if all := errorsOf(diagnosis(t, x.Web[0], args...)); len(all) > 0 {
		t.Errorf("found after it was mended: %+v", all)
	}
}
