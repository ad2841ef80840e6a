package ipvs_test

import (
	"testing"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/ipvs/ipvstest"
	"github.com/monitord/monitord/internal/kernellab"
	"github.com/monitord/monitord/internal/netif/netiftest"
)

// TestKernelConforms runs the suite of the fake against Linux.
func TestKernelConforms(t *testing.T) {
	kernellab.Require(t)
	ipvstest.Conform(t, func(t *testing.T) ipvs.Access {
		netiftest.Enter(t)
		c, err := ipvs.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	})
}
