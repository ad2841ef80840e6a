package dial_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/monitors"
)

// TestHostUnreachable: the kernel keeps to itself what an ICMP message other than
// "port unreachable" says about a UDP socket, unless it is asked to tell.
func TestHostUnreachable(t *testing.T) {
	raw, err := net.ListenPacket("ip4:icmp", "127.0.0.1")
	if errors.Is(err, os.ErrPermission) && os.Getenv("MONITORD_REQUIRE_ALL") != "1" {
		t.Skip("raw sockets need root")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	host, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = host.Close() }()
	sent := make(chan error, 1)
	go func() {
		_, from, err := host.ReadFrom(make([]byte, 10))
		if err == nil {
			_, err = raw.WriteTo(unreachable(from, host.LocalAddr()), &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)})
		}
		sent <- err
	}()
	conn := open(t, newDialer(t, "", ""), host.LocalAddr().String(), new(monitors.Timings))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = conn.Exchange(ctx, []byte("x"), time.Hour, is("x"))
	if !errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, monitors.ErrUntested) || !strings.Contains(err.Error(), "no route to host") {
		t.Errorf("got %v, want no route to host", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// unreachable is the ICMP message (RFC 792) of a router that does not reach the host
// that a datagram over loopback is for: type 3, code 1, and the datagram's headers.
func unreachable(from, to net.Addr) []byte {
	m := []byte{
		3, 1, 0, 0, 0, 0, 0, 0,
		0x45, 0, 0, 28, 0, 0, 0, 0, 64, syscall.IPPROTO_UDP, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1,
	}
	for _, addr := range []net.Addr{from, to} {
		if udp, ok := addr.(*net.UDPAddr); ok {
			m = binary.BigEndian.AppendUint16(m, uint16(udp.Port))
		}
	}
	m = append(m, 0, 8, 0, 0)
	sum := uint32(0)
	for i := 0; i < len(m); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(m[i:]))
	}
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum+sum>>16))
	return m
}
