//go:build race

package sim

// The race detector makes a world about ten times slower and finds nothing in
// it: one goroutine plays one schedule.
const slowed = 10
