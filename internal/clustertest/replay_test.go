//go:build linux

package clustertest

import (
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// An ear is a packet socket of a machine's eth0, which also sends.
type ear struct {
	socket int
	device int
}

func (s *site) ear(machine string) *ear {
	s.t.Helper()
	e := &ear{}
	s.must(s.Within(machine, func() error {
		link, err := netif.LinkNamed(s.t.Context(), "eth0")
		if err != nil {
			return err
		}
		e.device = link.Index
		all := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
		if e.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		second := unix.Timeval{Sec: 1}
		return errors.Join(unix.Bind(e.socket, &unix.SockaddrLinklayer{Protocol: all, Ifindex: e.device}),
			unix.SetsockoptTimeval(e.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &second))
	}))
	s.t.Cleanup(func() { _ = unix.Close(e.socket) })
	return e
}

// heartbeats records frames from an address to the heartbeats' port.
func (e *ear) heartbeats(from net.IP, count int) (frames [][]byte) {
	buffer := make([]byte, 2048)
	for len(frames) < count {
		n, _, err := unix.Recvfrom(e.socket, buffer, 0)
		if err != nil {
			return frames
		}
		f := buffer[:n]
		if n > 42 && f[14] == 0x45 && f[23] == unix.IPPROTO_UDP && net.IP(f[26:30]).Equal(from) && binary.BigEndian.Uint16(f[36:38]) == 6940 {
			frames = append(frames, append([]byte(nil), f...))
		}
	}
	return frames
}

// pieces tells whether a packet from an address comes in pieces.
func (e *ear) pieces(from net.IP) bool {
	buffer := make([]byte, 2048)
	for range 10000 {
		n, _, err := unix.Recvfrom(e.socket, buffer, 0)
		if err != nil {
			return false
		}
		f := buffer[:n]
		const more, offset = 0x2000, 0x1fff // RFC 791
		if n > 34 && f[14]>>4 == 4 && net.IP(f[26:30]).Equal(from) && binary.BigEndian.Uint16(f[20:22])&(more|offset) != 0 {
			return true
		}
	}
	return false
}

// send puts a frame on the wire, from the own hardware address: the switch learns no
// other.
func (e *ear) send(frame []byte, own net.HardwareAddr) error {
	f := append([]byte(nil), frame...)
	copy(f[6:12], own)
	return unix.Sendto(e.socket, f, 0, &unix.SockaddrLinklayer{Ifindex: e.device})
}

// forged is a heartbeat with a changed byte in what is sealed; UDP does without its
// checksum.
func forged(frame []byte) []byte {
	f := append([]byte(nil), frame...)
	f[40], f[41] = 0, 0
	f[len(f)-20] ^= 1
	return f
}

// TestEndToEndReplay: an attacker on the wire plays again what a director said, also
// changed. That disturbs nobody while it lives, and does not keep it alive when it is
// dead.
func TestEndToEndReplay(t *testing.T) {
	t.Parallel()
	s := open(t, lab.Settings{})
	s.begins()
	frames := s.ear("dr2").heartbeats(net.IPv4(10, 7, 0, 11), 40)
	if len(frames) != 40 {
		t.Fatalf("%d heartbeats of dr1 were heard", len(frames))
	}
	attacker, own := s.ear("web3"), s.mac("web3")
	began := netif.Boottime()
	play := func() {
		t.Helper()
		for _, f := range frames {
			s.must(attacker.send(f, own))
			s.must(attacker.send(forged(f), own))
		}
	}
	for range 20 {
		play()
		pass(20 * time.Millisecond)
	}
	s.still(began, "dr1")
	s.outage(lab.Client, began, noise)

	killed := netif.Boottime()
	s.must(s.Kill9(t.Context(), "dr1"))
	for s.Owner() != "dr2" {
		play()
		pass(20 * time.Millisecond)
		if netif.Boottime()-killed > patience {
			t.Fatal("dr2 does not take over from who is dead")
		}
	}
	s.served("dr2")
	s.outage(lab.Client, killed, s.bound(director.DaemonKilled))
	s.logged("dr2", "the seal is broken")
}
