package kernel

import (
	"testing"

	"github.com/monitord/monitord/internal/lvs"
)

// BenchmarkFlap is one server's change in a table of 1,000 services with 10
// servers each, the kernel apart.
func BenchmarkFlap(b *testing.B) {
	w := newWorld()
	k := w.start(b, Settings{})
	var up lvs.Table
	for port := range 1000 {
		up = append(up, service(uint16(1000+port), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
	}
	if err := k.Set(b.Context(), up); err != nil {
		b.Fatal(err)
	}
	down := up.Clone()
	down[500].Servers = down[500].Servers[1:]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := k.Set(b.Context(), []lvs.Table{down, up}[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}
