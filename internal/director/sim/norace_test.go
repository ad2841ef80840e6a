//go:build !race

package sim

const slowed = 1
