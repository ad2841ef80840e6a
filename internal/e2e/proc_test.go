//go:build linux

package e2e_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/e2e/hosts"
)

// A table is what a kernel forwards: the real servers of each service, "TCP
// 10.2.0.100:80" or "FWM 9", with their weights.
type table map[string]map[netip.AddrPort]int

// key is the service in a table.
func (s service) key() string {
	switch {
	case s.mark != 0:
		return fmt.Sprintf("FWM %d", s.mark)
	case s.udp:
		return "UDP " + s.address.String()
	}
	return "TCP " + s.address.String()
}

// up are the service's real servers that get connections.
func (n table) up(s service) []netip.AddrPort {
	var up []netip.AddrPort
	for r, weight := range n[s.key()] {
		if weight > 0 {
			up = append(up, r)
		}
	}
	return up
}

// weight is that of a real server; absent is -1.
func (n table) weight(s service, r realServer) int {
	if weight, ok := n[s.key()][r.address]; ok {
		return weight
	}
	return absent
}

const absent = -1

// A tableFile is a director's table as /proc shows it, which takes no process to
// read.
type tableFile struct{ file *os.File }

// openTable opens it, for the caller to close. A file of /proc/net stays that of the namespace that it was
// opened in.
func openTable(t *testing.T, director *hosts.Host) tableFile {
	t.Helper()
	var f tableFile
	err := director.Do(func() (err error) {
		f.file, err = os.Open("/proc/thread-self/net/ip_vs")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f tableFile) close() { _ = f.file.Close() }

// read reads what the table is now.
func (f tableFile) read() (table, error) {
	text, err := io.ReadAll(io.NewSectionReader(f.file, 0, 1<<20))
	if err != nil {
		return nil, err
	}
	return parseTable(string(text))
}

// parseTable reads lines like these (ip_vs_info_seq_show):
//
//	TCP  0A020064:0050 rr
//	  -> 0A020015:0050      Route   1      0          0
//	FWM  00000009 wlc persistent 50 FFFFFFFF
func parseTable(text string) (table, error) {
	now := table{}
	service := ""
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] == "Virtual" || fields[1] == "LocalAddress:Port" || fields[1] == "RemoteAddress:Port" {
			continue
		}
		if fields[0] != "->" {
			name, err := serviceName(fields[0], fields[1])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			service = name
			now[service] = map[netip.AddrPort]int{}
			continue
		}
		address, err := hexAddress(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		if now[service][address], err = strconv.Atoi(fields[3]); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	return now, nil
}

func serviceName(protocol, text string) (string, error) {
	if protocol == "FWM" {
		mark, err := strconv.ParseUint(text, 16, 32)
		return fmt.Sprintf("FWM %d", mark), err
	}
	address, err := hexAddress(text)
	return protocol + " " + address.String(), err
}

// hexAddress reads "0A020064:0050" and "[fd00:0002:…:0100]:0050".
func hexAddress(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	if end := strings.Index(text, "]:"); end > 0 {
		host, port = text[1:end], text[end+2:]
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if strings.Contains(host, ":") {
		a, err := netip.ParseAddr(host)
		return netip.AddrPortFrom(a, uint16(number)), err
	}
	b, err := hex.DecodeString(host)
	if err != nil || len(b) != 4 {
		return netip.AddrPort{}, fmt.Errorf("address %q: %w", host, err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), uint16(number)), nil
}

// awaitTable waits until a director's table is as it should be.
func awaitTable(t *testing.T, director *hosts.Host, right func(table) error) {
	t.Helper()
	f := openTable(t, director)
	defer f.close()
	hosts.Eventually(t, patience, func() error {
		now, err := f.read()
		if err != nil {
			t.Fatal(err)
		}
		return right(now)
	})
}

// awaitWeight waits until a real server has this weight, or is absent.
func awaitWeight(t *testing.T, director *hosts.Host, s service, r realServer, weight int) {
	t.Helper()
	awaitTable(t, director, func(now table) error {
		if got := now.weight(s, r); got != weight {
			return fmt.Errorf("%s of %s has weight %d, want %d (-1 is absent): %v", r.address, s.name, got, weight, now)
		}
		return nil
	})
}

// A guard looks at a director's table as often as it can, and notes what is
// wrong.
type guard struct {
	stop    chan struct{}
	once    sync.Once // closes stop
	running sync.WaitGroup
	looks   int
	wrong   []string
}

// guardTable starts a guard. The first few faults are kept.
func guardTable(t *testing.T, director *hosts.Host, right func(table) error) *guard {
	t.Helper()
	f := openTable(t, director)
	g := &guard{stop: make(chan struct{})}
	t.Cleanup(g.halt)
	g.running.Go(func() {
		defer f.close()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			now, err := f.read()
			if err == nil {
				err = right(now)
			}
			if g.looks++; err != nil && len(g.wrong) < 10 {
				g.wrong = append(g.wrong, err.Error())
			}
			select {
			case <-g.stop:
				return
			case <-tick.C:
			}
		}
	})
	return g
}

func (g *guard) halt() {
	g.once.Do(func() { close(g.stop) })
	g.running.Wait()
}

// end stops the guard, and fails the test if anything was wrong.
func (g *guard) end(t *testing.T) {
	t.Helper()
	g.halt()
	for _, w := range g.wrong {
		t.Error(w)
	}
	t.Logf("the table was looked at %d times", g.looks)
}

func TestParseTable(t *testing.T) {
	got, err := parseTable(`IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A020064:0050 rr persistent 50 FFFFFFFF
  -> 0A020016:0050      Route   3      0          0
  -> 0A020015:0050      Route   0      1          2
UDP  [fd00:0002:0000:0000:0000:0000:0000:0100]:0035 wlc
  -> [fd00:0002:0000:0000:0000:0000:0000:0021]:0035      Masq    1      0          0
FWM  00000009 wlc
`)
	want := table{
		"TCP 10.2.0.100:80":    {netip.MustParseAddrPort("10.2.0.22:80"): 3, netip.MustParseAddrPort("10.2.0.21:80"): 0},
		"UDP [fd00:2::100]:53": {netip.MustParseAddrPort("[fd00:2::21]:53"): 1},
		"FWM 9":                {},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	web := service{address: vip(80)}
	if r := webs(80); got.weight(web, r[0]) != 0 || got.weight(web, r[1]) != 3 || len(got.up(web)) != 1 {
		t.Errorf("weights %d and %d, up %v", got.weight(web, r[0]), got.weight(web, r[1]), got.up(web))
	}
}
