package relay

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/lvstest"
)

// BenchmarkThroughput moves data from a server to a client, directly and through
// the relay in turns, and reports both and their ratio.
func BenchmarkThroughput(b *testing.B) {
	const chunk = 64 << 20
	zeros := make([]byte, 256<<10)
	source := startRealOn(b, "source", "127.0.0.1:0", func(c *net.TCPConn) {
		for sent := 0; sent < chunk; sent += len(zeros) {
			if _, err := c.Write(zeros); err != nil {
				return
			}
		}
	})
	vip := lvstest.FreeAddress(b)
	set(b, newRelay(b), serviceOn(vip, lvs.RoundRobin, source.with(1)))
	var direct, relayed time.Duration
	for b.Loop() {
		direct += fetch(b, source.address, chunk)
		relayed += fetch(b, vip, chunk)
	}
	rate := func(d time.Duration) float64 { return float64(chunk) * float64(b.N) / d.Seconds() / 1e6 }
	b.ReportMetric(rate(direct), "direct-MB/s")
	b.ReportMetric(rate(relayed), "relay-MB/s")
	b.ReportMetric(rate(relayed)/rate(direct), "ratio")
}

func fetch(b *testing.B, address netip.AddrPort, want int64) time.Duration {
	began := time.Now()
	c, err := net.Dial("tcp", address.String())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	buffer := make([]byte, 256<<10)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, buffer)
	if n != want || err != nil {
		b.Fatalf("%d bytes, %v; want %d", n, err, want)
	}
	return time.Since(began)
}

// BenchmarkConnections opens a connection, is greeted and closes it, directly
// and through the relay in turns.
func BenchmarkConnections(b *testing.B) {
	greeter := startRealOn(b, "greet", "127.0.0.1:0", func(c *net.TCPConn) { _, _ = io.WriteString(c, "g\n") })
	vip := lvstest.FreeAddress(b)
	set(b, newRelay(b), serviceOn(vip, lvs.WeightedLeastConnection, greeter.with(1)))
	var direct, relayed time.Duration
	for b.Loop() {
		direct += fetch(b, greeter.address, 2)
		relayed += fetch(b, vip, 2)
	}
	b.ReportMetric(float64(direct.Microseconds())/float64(b.N), "direct-µs")
	b.ReportMetric(float64(relayed.Microseconds())/float64(b.N), "relay-µs")
	b.ReportMetric(float64(direct)/float64(relayed), "ratio")
}
