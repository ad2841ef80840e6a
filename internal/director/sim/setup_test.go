package sim

import (
	"testing"

	"github.com/monitord/monitord/internal/director"
)

// TestSetupsAreSound: only configurations that monitord check accepts are simulated.
func TestSetupsAreSound(t *testing.T) {
	for seed := range uint64(300) {
		s := NewSchedule(seed)
		for i := range s.Setup.voters() {
			if _, err := director.Bounds(s.Setup.Config(i)); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
}
