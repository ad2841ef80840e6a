package simulate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
)

// pools are the daemon's, before a table that is nowhere.
type pools struct {
	stage *engine.Rehearsal
	pool  *lvs.Pool
	last  map[string][]lvs.ServerStatus
	sorry map[string]string
}

func newPools(site *config.Site, stage *engine.Rehearsal) (*pools, error) {
	p := &pools{stage: stage, last: map[string][]lvs.ServerStatus{}, sorry: map[string]string{}}
	p.pool = lvs.NewPool(lvs.PoolConfig{Backend: record.New(nil), Resolver: &names{}, Now: stage.Now, Quorum: stage.Quorum})
	ctx := context.Background() // nothing in it waits
	if err := p.pool.Reconfigure(ctx, site.Virtuals, site.Followers); err != nil {
		return nil, fmt.Errorf("virtual services: %w", err)
	}
	_, err := p.changes(ctx, "")
	return p, err
}

// follow tells the pool who is up, and returns what that changes. A host that is no
// real server of it is no mistake here: the daemon tells of it in its log.
func (p *pools) follow(ctx context.Context, s engine.Scene) ([]Event, error) {
	e := s.Alert.Event
	if s.Alert.Virtual == "" {
		return nil, nil
	}
	states := make(map[string]alerts.HostState, len(e.Hosts))
	for _, h := range e.Hosts {
		states[h.Name] = h.State
	}
	err := p.pool.Report(ctx, s.Alert.Virtual, s.Key.String(), states)
	if err != nil && !errors.Is(err, alerts.ErrDelivered) {
		return nil, err
	}
	return p.changes(ctx, s.Key.String())
}

// changes compares the pools with what they were.
func (p *pools) changes(ctx context.Context, cause string) ([]Event, error) {
	all, err := p.pool.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var out []Event
	at := p.stage.Now()
	for _, v := range all {
		before := p.last[v.Name]
		for i, now := range v.Servers {
			if before == nil || before[i].In == now.In && before[i].Held == now.Held {
				continue
			}
			e := Event{At: at, Watch: cause, Pool: v.Name, Hosts: []string{now.Host}, Reason: now.Reason, Change: Leaves}
			switch {
			case now.Held:
				e.Change, e.Reason = Kept, now.Reason+fmt.Sprintf(", which is %d", v.MinUp)
			case now.In && !before[i].In:
				e.Change = Joins
			case now.In:
				e.Change = Returns
			}
			out = append(out, e)
		}
		if was := p.sorry[v.Name]; before != nil && was != v.Sorry {
			e := Event{At: at, Watch: cause, Pool: v.Name, Hosts: []string{v.Sorry}, Change: Sorry, Reason: "no server is left"}
			if v.Sorry == "" {
				e.Hosts, e.Change, e.Reason = []string{was}, NotSorry, "a server is back"
			}
			out = append(out, e)
		}
		p.last[v.Name], p.sorry[v.Name] = slices.Clone(v.Servers), v.Sorry
	}
	return out, nil
}

// names gives every name an address of its own, so that nobody is asked: of the
// blocks that are for benchmarks (RFC 2544, RFC 5180).
type names struct{ next uint32 }

func (n *names) LookupNetIP(_ context.Context, network, _ string) ([]netip.Addr, error) {
	n.next++
	four := netip.AddrFrom4([4]byte{198, 18 + byte(n.next>>16&1), byte(n.next >> 8), byte(n.next)})
	six := netip.AddrFrom16([16]byte{0x20, 0x01, 0, 2, 12: byte(n.next >> 24), 13: byte(n.next >> 16), 14: byte(n.next >> 8), 15: byte(n.next)})
	switch network {
	case "ip4":
		return []netip.Addr{four}, nil
	case "ip6":
		return []netip.Addr{six}, nil
	}
	return []netip.Addr{four, six}, nil
}
