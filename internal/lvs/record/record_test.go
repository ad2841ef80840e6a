package record_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
	"github.com/monitord/monitord/internal/lvs/record"
)

func TestConformance(t *testing.T) {
	lvstest.Run(t, lvstest.Subject{
		New:    func(testing.TB) lvs.Backend { return record.New(nil) },
		Actual: func(_ testing.TB, b lvs.Backend) lvs.Table { return b.(*record.Recorder).Table() },
	})
}

func table(servers ...lvs.Server) lvs.Table {
	return lvs.Table{lvstest.Service(netip.MustParseAddrPort("10.0.0.1:80"), servers...)}
}

func server(address string, weight int) lvs.Server {
	return lvs.Server{Address: netip.MustParseAddrPort(address), Weight: weight}
}

func TestTellsChangesAsIpvsadmLines(t *testing.T) {
	var told []string
	r := record.New(func(c string) { told = append(told, c) })
	rr := table(server("10.0.0.2:80", 1))
	rr[0].Scheduler = lvs.RoundRobin
	steps := []struct {
		name  string
		table lvs.Table
		want  []string
	}{
		{"the first", table(server("10.0.0.2:80", 1)), []string{"-A -t 10.0.0.1:80 -s wlc", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -w 1"}},
		{"the same", table(server("10.0.0.2:80", 1)), nil},
		{"replaced", table(server("10.0.0.3:80", 2)), []string{"-a -t 10.0.0.1:80 -r 10.0.0.3:80 -w 2", "-d -t 10.0.0.1:80 -r 10.0.0.2:80"}},
		{
			"up before down", table(server("10.0.0.3:80", 0), server("[2001:db8::1]:80", 1)),
			[]string{"-a -t 10.0.0.1:80 -r [2001:db8::1]:80 -w 1", "-e -t 10.0.0.1:80 -r 10.0.0.3:80 -w 0"},
		},
		{"back", table(server("10.0.0.3:80", 7)), []string{"-e -t 10.0.0.1:80 -r 10.0.0.3:80 -w 7", "-d -t 10.0.0.1:80 -r [2001:db8::1]:80"}},
		{"scheduler", rr, []string{"-E -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -w 1", "-d -t 10.0.0.1:80 -r 10.0.0.3:80"}},
		{"nothing", nil, []string{"-D -t 10.0.0.1:80"}},
	}
	for _, s := range steps {
		told = nil
		if err := r.Set(t.Context(), s.table); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.want, told); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", s.name, diff)
		}
	}
	if got := len(r.Tables()); got != len(steps) {
		t.Errorf("%d tables remembered, want %d", got, len(steps))
	}
}

func TestRemembersTheNewest(t *testing.T) {
	r := record.New(nil)
	const surplus = 5
	for i := range record.Remembered + surplus {
		if err := r.Set(t.Context(), table(server(fmt.Sprintf("10.1.0.1:%d", 1+i), 1))); err != nil {
			t.Fatal(err)
		}
	}
	all := r.Tables()
	if len(all) != record.Remembered {
		t.Fatalf("%d tables, want %d", len(all), record.Remembered)
	}
	if first, last := all[0][0].Servers[0].Address.Port(), all[len(all)-1][0].Servers[0].Address.Port(); first != 1+surplus || last != record.Remembered+surplus {
		t.Errorf("tables %d to %d, want %d to %d", first, last, 1+surplus, record.Remembered+surplus)
	}
	all[0][0].Servers[0].Weight = 99
	if slices.ContainsFunc(r.Tables()[0][0].Servers, func(s lvs.Server) bool { return s.Weight == 99 }) {
		t.Error("Tables shares memory with the recorder")
	}
}
