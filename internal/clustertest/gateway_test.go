//go:build linux

package clustertest

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// slow has the gateway answer pings a while later.
func (s *site) slow(delay time.Duration) {
	s.t.Helper()
	var conn *icmp.PacketConn
	s.must(s.Within("gateway", func() (err error) {
		if err := netif.Sysctl("net.ipv4.icmp_echo_ignore_all").Set("1"); err != nil {
			return err
		}
		conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	}))
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		answer(ctx, conn, delay)
	}()
	s.t.Cleanup(func() {
		cancel()
		_ = conn.Close()
		<-ended
	})
}

// answer sends back every echo request, each after the delay.
func answer(ctx context.Context, conn *icmp.PacketConn, delay time.Duration) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		m, err := icmp.ParseMessage(ipv4.ICMPTypeEcho.Protocol(), buffer[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEcho {
			continue
		}
		m.Type = ipv4.ICMPTypeEchoReply
		reply, err := m.Marshal(nil)
		if err != nil {
			return
		}
		time.AfterFunc(delay, func() { send(ctx, conn, reply, from) })
	}
}

func send(ctx context.Context, conn *icmp.PacketConn, reply []byte, to net.Addr) {
	if ctx.Err() == nil {
		_, _ = conn.WriteTo(reply, to) // the test may be over
	}
}

// TestEndToEndSlowGateway: a gateway that takes its time is no reason to move: neither
// within the window in which pings count nor, since it is as slow for both, beyond it.
func TestEndToEndSlowGateway(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{60 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			s := open(t, lab.Settings{})
			s.begins()
			began := netif.Boottime()
			s.slow(delay)
			pass(3 * time.Second)
			s.still(began, "dr1")
			s.outage(lab.Client, began, noise)
		})
	}
}

// TestEndToEndAllGatewaysGone: nobody reaches the gateway. It is the gateway that died.
func TestEndToEndAllGatewaysGone(t *testing.T) {
	t.Parallel()
	t.Run("hold", func(t *testing.T) {
		t.Parallel()
		s := open(t, lab.Settings{Near: true})
		s.begins()
		down := netif.Boottime()
		s.must(s.Gateway(t.Context(), false))
		s.eventually("dr1 knows", func() bool { v, err := s.view("dr1"); return err == nil && !v.Connected })
		s.eventually("people see which guard is missing", func() bool { return s.shown("dr1", "gateway DOES NOT WORK: the gateway does not answer") })
		pass(time.Second)
		s.must(s.Gateway(t.Context(), true))
		s.served("dr1")
		s.still(down, "dr1")
		s.outage(lab.NearClient, down, noise)
	})
	t.Run("release", func(t *testing.T) {
		t.Parallel()
		s := open(t, lab.Settings{}, replaced(t, "[fence]\n", "[fence]\nall_lost = \"release\"\n"))
		s.begins()
		s.must(s.Gateway(t.Context(), false))
		s.owned("")
		gone := netif.Boottime()
		pass(1500 * time.Millisecond)
		s.still(gone, "")
		s.must(s.Gateway(t.Context(), true))
		s.settles()
	})
}
