package icmp

import "sync"

// maxQuiet is how many targets may be pinged at once for go-ping to be right on
// raw sockets. Measured on loopback: with 32 go-pings at once no round trip is
// longer than 5 ms, with 64 than 17 ms, with 128 than 80 ms; 256 lose every
// third ping, and 16 beside a group of 5,000 lose one of three.
const maxQuiet = 32

// inFlight is the one variable of this package. It counts for the whole process
// because what it guards against goes through the whole process and beyond: the
// kernel copies each ICMP packet to each raw socket, and watches that share
// nothing else share that. It decides on the way a ping takes, not on a verdict.
var inFlight crowd

// A crowd counts the targets that are being pinged.
type crowd struct {
	mu      sync.Mutex // protects all below
	targets int
	// surges counts the calls that made the targets more than maxQuiet.
	surges int
}

// enter adds targets. crowded says that they are too many with those that are
// there already; surges is for comparison with what surged returns later.
func (c *crowd) enter(n int) (surges int, crowded bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets += n
	if crowded = c.targets > maxQuiet; crowded {
		c.surges++
	}
	return c.surges, crowded
}

func (c *crowd) leave(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targets -= n
}

// surged returns how often there came up a crowd so far.
func (c *crowd) surged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.surges
}
