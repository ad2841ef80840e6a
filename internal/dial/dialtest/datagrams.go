package dialtest

import (
	"net"
	"testing"
)

// ServeDatagrams answers the datagrams that come to a free UDP port of a loopback
// address with those that handle returns, one by one, until the test ends. It
// returns the entry of a host group for it.
func ServeDatagrams(t testing.TB, address string, handle func(packet []byte) [][]byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatalf("this test needs the loopback address %s: %v", address, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		answerDatagrams(conn, handle)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

func answerDatagrams(conn net.PacketConn, handle func([]byte) [][]byte) {
	packet := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(packet)
		if err != nil {
			return
		}
		for _, answer := range handle(packet[:n]) {
			if _, err := conn.WriteTo(answer, from); err != nil {
				return
			}
		}
	}
}

// Ignore is a handler of [ServeDatagrams] that does not answer.
func Ignore([]byte) [][]byte { return nil }

// RefusedDatagrams returns an entry whose UDP port is unreachable. It is taken, so
// that nobody else gets it, by a socket that is connected to itself: the kernel
// delivers to it nothing that comes from elsewhere, and refuses that.
func RefusedDatagrams(t testing.TB, address string) string {
	t.Helper()
	first, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatalf("this test needs the loopback address %s: %v", address, err)
	}
	own, ok := first.LocalAddr().(*net.UDPAddr)
	if !ok {
		t.Fatalf("%s is no UDP address", first.LocalAddr())
	}
	// A connected socket cannot be made of a listening one here: the port is free
	// for this moment.
	_ = first.Close()
	conn, err := net.DialUDP("udp", own, own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return own.String()
}
