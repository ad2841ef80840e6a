package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/watch"
)

// watchEvery is how often required watches are looked at.
const watchEvery = 500 * time.Millisecond

// conditions tells the loop what the groups need beside their resources: interfaces
// that are up, watches that are good.
func (c *cluster) conditions(ctx context.Context, d *daemon) {
	var all sync.WaitGroup
	for _, device := range c.site.Interfaces {
		all.Go(func() { c.watchInterface(ctx, device) })
	}
	if len(c.site.Require) > 0 {
		all.Go(func() { c.watchRequired(ctx, d) })
	}
	all.Wait()
}

func (c *cluster) watchInterface(ctx context.Context, device string) {
	for ctx.Err() == nil {
		w, err := netif.Watch(ctx, netif.WatchOptions{Device: device})
		if err != nil {
			c.log.WithError(err).WithField("interface", device).Error("cannot be watched, will try again")
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		for change := range w.Changes() {
			detail := ""
			if !change.Carrier {
				detail = "is down"
			}
			c.loop.Condition("", "interface "+device, detail)
		}
		_ = w.Close() // it has ended
	}
}

// watchRequired: a watch that was not tested yet is no reason to move anything.
func (c *cluster) watchRequired(ctx context.Context, d *daemon) {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	for {
		states := map[watch.Key]string{}
		status := d.engine.Status()
		for i := range status.Watches {
			w := &status.Watches[i]
			states[watch.Key{Group: w.Group, Service: w.Service}] = w.State
		}
		for _, r := range c.site.Require {
			detail := ""
			if s := states[r.Watch]; slices.Contains([]string{"failed", "timeout", "linkdown"}, s) {
				detail = "is " + s
			}
			c.loop.Condition(r.Group, "watch "+r.Watch.String(), detail)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}
