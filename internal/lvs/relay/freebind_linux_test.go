package relay

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// A service of a group listens before its address is here, and serves it when it has
// come; that another address is not this machine's stays an error.
func TestListensBeforeItsAddress(t *testing.T) {
	real1 := startReal(t, "a")
	netiftest.Enter(t)
	for _, text := range []string{"192.0.2.100:8080", "[2001:db8::100]:8080"} {
		address := netip.MustParseAddrPort(text)
		r := newRelay(t)
		s := lvstest.Service(address, real1.with(1))
		if err := r.Set(t.Context(), lvs.Table{s}); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("%s of no group: %v", text, err)
		}
		s.Floating = true
		set(t, r, s)
		if table := r.Table(); len(table) != 1 {
			t.Fatalf("%s: forwarded %v", text, table)
		}
		vip := netif.Add{Device: "lo", Prefix: netip.PrefixFrom(address.Addr(), address.Addr().BitLen()), NoDAD: true}
		if err := netif.AddAddress(t.Context(), vip); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", text)
		// IPv6: the route comes a moment after the address.
		for end := time.Now().Add(10 * time.Second); errors.Is(err, syscall.ENETUNREACH) && time.Now().Before(end); {
			conn, err = net.Dial("tcp", text)
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		_ = conn.Close()
	}
}
