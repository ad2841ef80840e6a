package monitors

import (
	"strings"
	"time"
)

// Timings say how long each phase of a probe took: those that it got through, and
// 0 for any other. A probe that makes several connections adds them up.
type Timings struct {
	// Resolve is the lookup of the host's name; an address needs none.
	Resolve time.Duration
	// Connect is the way from an address to a connection, together with addresses
	// of the same name that were tried in vain before.
	Connect time.Duration
	// TLS is the handshake.
	TLS time.Duration
	// FirstByte is the wait from the connection, or from the handshake that came
	// right after it, until the host said something.
	FirstByte time.Duration
}

// Sum is the time of all phases.
func (t Timings) Sum() time.Duration { return t.Resolve + t.Connect + t.TLS + t.FirstByte }

// String lists the phases for people: "connect 210µs, first byte 1.3ms". It is
// empty if there was none.
func (t Timings) String() string {
	var parts []string
	for _, phase := range []struct {
		name string
		took time.Duration
	}{
		{"resolve", t.Resolve}, {"connect", t.Connect}, {"TLS", t.TLS}, {"first byte", t.FirstByte},
	} {
		if phase.took > 0 {
			parts = append(parts, phase.name+" "+readable(phase.took))
		}
	}
	return strings.Join(parts, ", ")
}

// readable leaves three digits or so: nobody compares nanoseconds of a network.
func readable(d time.Duration) string {
	unit := time.Microsecond
	for _, coarser := range []time.Duration{10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond} {
		if d >= 100*coarser {
			unit = coarser
		}
	}
	return d.Round(unit).String()
}
