package dns

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/monitord/monitord/monitors"
)

// A comparison asks all hosts for the serial number of a zone, the masters in the
// same run, and judges those that answered by the newest number.
type comparison struct {
	*probe
}

// Check implements [monitors.Monitor].
func (c *comparison) Check(ctx context.Context, r monitors.Request) (monitors.Result, error) {
	var mu sync.Mutex
	serials := map[string]uint32{} // protected by mu while the hosts are asked
	each := monitors.EachHost(c.Limit, c.Timeout.Std(), func(ctx context.Context, host string, took *monitors.Timings) error {
		serial, err := c.serialOf(ctx, host, took)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		serials[host] = serial
		return nil
	})
	if len(r.Hosts) == 0 {
		return each.Check(ctx, r)
	}
	asked := r
	asked.Hosts = slices.Concat(c.Master, r.Hosts) // without the masters the others tell nothing
	result, err := each.Check(ctx, asked)
	if err != nil {
		return result, err
	}
	masters, hosts := result.Hosts[:len(c.Master)], result.Hosts[len(c.Master):]
	judgeSerials(hosts, masters, serials, uint32(c.SerialThreshold))
	return monitors.Summarise(hosts), nil
}

func (c *comparison) serialOf(ctx context.Context, host string, took *monitors.Timings) (uint32, error) {
	answer, err := c.ask(ctx, host, took)
	if err != nil {
		return 0, err
	}
	return c.wish.serial(answer)
}

// judgeSerials changes the verdicts of hosts that are up with a serial number that
// is not that of the master, or of the newest host if there are no masters.
func judgeSerials(hosts, masters []monitors.HostResult, serials map[string]uint32, threshold uint32) {
	reference := masters
	if len(masters) == 0 {
		reference = hosts
	}
	newest, found := newestOf(reference, serials)
	for i := range hosts {
		h := &hosts[i]
		if h.Verdict != monitors.Up {
			continue
		}
		if !found {
			h.Verdict, h.Took = monitors.Unknown, 0
			h.Reason = fmt.Sprintf("could not test: no master tells its serial number: %s: %s", masters[0].Host, masters[0].Reason)
			continue
		}
		own, wanted := serials[h.Host], serials[newest]
		if distance(own, wanted) > threshold {
			h.Verdict, h.Took = monitors.Down, 0
			h.Reason = fmt.Sprintf("has the serial number %d, wanted %d, which %s has", own, wanted, newest)
			if threshold > 0 {
				h.Reason += fmt.Sprintf(", or within %d of it", threshold)
			}
		}
	}
}

// newestOf returns the host with the newest serial number of those that are up.
func newestOf(hosts []monitors.HostResult, serials map[string]uint32) (host string, found bool) {
	for _, h := range hosts {
		if h.Verdict == monitors.Up && (!found || newer(serials[h.Host], serials[host])) {
			host, found = h.Host, true
		}
	}
	return host, found
}

// newer compares serial numbers as RFC 1982 does, in which they form a circle.
func newer(a, b uint32) bool { return int32(a-b) > 0 }

// distance is how far two serial numbers are apart, either way.
func distance(a, b uint32) uint32 {
	if newer(a, b) {
		return a - b
	}
	return b - a
}
