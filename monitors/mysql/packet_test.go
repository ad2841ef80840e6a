package mysql

import (
	"strings"
	"testing"
)

// FuzzPackets: whatever a server sends, reading it ends without a panic, and what is
// taken from it was in it.
func FuzzPackets(f *testing.F) {
	f.Add([]byte(handshake("8.4.3")[4:]))
	f.Add([]byte(failure(0, 1040, "#08004Too many connections")[4:]))
	f.Add([]byte(change))
	f.Add([]byte{errorPacket, 1})
	f.Add([]byte{protocol10, 0})
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) == 0 {
			return // receive refuses it
		}
		g, ok := parseGreeting(packet)
		e, failed := parseError(packet)
		if ok && failed {
			t.Fatalf("%q is a greeting and an error", packet)
		}
		if !strings.Contains(string(packet), g.version) || !strings.Contains(string(packet), e.message) {
			t.Fatalf("%q has the version %q and the message %q", packet, g.version, e.message)
		}
		if response := g.respond("x"); len(response) > 100 {
			t.Fatalf("the answer to %q is %d bytes long", packet, len(response))
		}
		if proof := noPassword(packet); len(proof) > 1 {
			t.Fatalf("the proof for %q is %q", packet, proof)
		}
	})
}
