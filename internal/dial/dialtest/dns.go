package dialtest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// An Answer is what a name server does with each question.
type Answer int

// The answers. Mute is none at all.
const (
	Addresses Answer = iota
	NoSuchName
	ServerFailure
	Mute
)

// NameServer starts a name server and returns its host:port. With [Addresses]
// every name has the given ones.
func NameServer(t testing.TB, answer Answer, addrs ...string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serveNames(conn, answer, addrs)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

func serveNames(conn net.PacketConn, answer Answer, addrs []string) {
	packet := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		if answer == Mute || n < 12 {
			continue
		}
		if _, err := conn.WriteTo(reply(packet[:n], answer, addrs), from); err != nil {
			return
		}
	}
}

// reply builds the message of RFC 1035, 4.1, for a query with one question.
func reply(query []byte, answer Answer, addrs []string) []byte {
	end := 12
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root label, type and class
	if end > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[end-4:])
	code := map[Answer]byte{NoSuchName: 3, ServerFailure: 2}[answer]
	r := slices.Concat(query[:2], []byte{0x85, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end])
	if answer != Addresses {
		return r
	}
	for _, text := range addrs {
		a := netip.MustParseAddr(text)
		if kind == 1 && a.Is4() || kind == 28 && a.Is6() {
			r = slices.Concat(r, []byte{0xc0, 12}, query[end-4:end], []byte{0, 0, 0, 60, 0, byte(a.BitLen() / 8)}, a.AsSlice())
			r[7]++
		}
	}
	return r
}
