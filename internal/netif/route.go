package netif

import "fmt"

// String is the route as ip(8) writes it.
func (r NewRoute) String() string {
	text := r.Destination.String()
	if r.Destination.Bits() == 0 {
		text = "default"
	}
	for _, part := range []struct {
		word  string
		value any
		given bool
	}{
		{"via", r.Gateway, r.Gateway.IsValid()},
		{"dev", r.Device, r.Device != ""},
		{"src", r.Source, r.Source.IsValid()},
		{"table", r.Table, r.Table != 0},
		{"metric", r.Metric, r.Metric != 0},
	} {
		if part.given {
			text += fmt.Sprintf(" %s %v", part.word, part.value)
		}
	}
	return "route " + text
}
