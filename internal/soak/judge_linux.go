package soak

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// before an outage a stall may have made for it: pings, heartbeats and renewals are that
// far apart.
const before = 250 * time.Millisecond

// exact is how exact an outage is: the pause between two questions.
const exact = 10 * time.Millisecond

// limit is what a single fault may cost, and whether anything is promised.
func (r *run) limit(f fault, owner string) (time.Duration, bool) {
	if f.unbounded {
		return 0, false
	}
	if f.moves && (f.node == owner || f.node == "") {
		return r.bounds[f.failure], true
	}
	return 0, true
}

// judgeDual finds that two had the address for longer than is promised.
func (r *run) judgeDual(e episode, d lab.Dual) error {
	switch {
	case d.None():
		return nil
	case e.single():
		return fmt.Errorf("two directors had the address after a single fault: %+v", d)
	case max(d.Kernels, d.Sampled) > r.dual+r.o.Allowance:
		return fmt.Errorf("two directors had the address for longer than %s: %+v", r.dual, d)
	}
	return nil
}

// judge compares an episode with what is promised.
func (r *run) judge(e episode, s seen) error {
	if err := r.judgeDual(e, r.lab.Dual(s.from, s.to)); err != nil || !e.single() {
		return err
	}
	f := e.faults[0]
	limit, bounded := r.limit(f, s.owner)
	if !bounded {
		return nil
	}
	var wrong []error
	check := func(who string, o lab.Outage, most time.Duration) {
		noise := r.o.Allowance + r.stalls.sum(o.At-before, o.At+o.Lasted)
		if o.Asked == 0 || o.Lasted > most+exact+noise {
			wrong = append(wrong, fmt.Errorf("the %s had no answer for %s ms, at %.3f; want at most %s, and %s for the noise", who, o, o.At.Seconds(), most, noise))
		}
	}
	check("client beside the directors", s.near, limit)
	if !f.near {
		check("client behind the gateway", s.client, limit)
	}
	if s.healing-s.from >= long && s.healing != 0 {
		check("client beside the directors, when the fault was over,", s.healNear, 0)
		if r.stalls.longest(s.from, s.healing) < r.slack {
			wrong = append(wrong, r.entitled(f, s))
		}
	}
	return errors.Join(wrong...)
}

// entitled finds that the address was not with whom it belongs while the fault lasted.
func (r *run) entitled(f fault, s seen) error {
	want := s.owner
	if f.moves && f.node == s.owner {
		want = map[string]string{"dr1": "dr2", "dr2": "dr1"}[s.owner]
	}
	if s.held != want {
		return fmt.Errorf("when the fault had lasted %s, %q had the address, want %s", s.healing-s.from, s.held, want)
	}
	return nil
}

// still finds that the address moved though nothing called for it: after all was well,
// or because of a fault that is none of the owner's. The excuse, which is counted, is a
// machine that stands still for so long that answers of the gateway count as missing: who
// hears no acknowledgement either, as of a deaf peer, has to give up.
func (r *run) still(e episode, s seen) error {
	from := s.wellAt
	if e.single() {
		if limit, bounded := r.limit(e.faults[0], s.owner); bounded && limit == 0 {
			from = s.from
		}
	}
	moves := moved(r.lab.Timeline(), from, s.to)
	if len(moves) == 0 {
		return nil
	}
	stalled := r.stalls.longest(s.from, s.to)
	fmt.Fprintf(r.o.Out, "          the address moved, and nothing called for it: %s; the machine stood still for %s ms\n", strings.Join(moves, ", "), ms(stalled))
	r.summary.Unprovoked++
	if stalled >= r.slack {
		return nil
	}
	return fmt.Errorf("the address moved, and nothing called for it: %s; the machine stood still for %s", strings.Join(moves, ", "), stalled)
}

// moved are the entries of a timeline that tell of another owner.
func moved(timeline []lab.Event, from, to time.Duration) (moves []string) {
	for _, e := range timeline {
		if e.At > from && e.At <= to && strings.HasPrefix(e.What, "address: ") {
			moves = append(moves, fmt.Sprintf("%.3f %s", e.At.Seconds(), e))
		}
	}
	return moves
}

// patience is how long it may take until all is well again: a group whose start failed
// amid faults is not tried at once (director.Timings, BackOff), and who starts while
// nobody is heard waits for that (InitDead).
const patience = 30 * time.Second

// well waits until one director has the address, the other one stands by, they hear each
// other, and http is served since a time.
func (r *run) well(ctx context.Context, since time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := r.amiss(limited, since)
		if err == nil {
			return nil
		}
		if bad := pass(limited, 50*time.Millisecond); bad != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("all faults were over for %s, and %w", netif.Boottime()-since, err)
		}
	}
}

// amiss is what is not well.
func (r *run) amiss(ctx context.Context, since time.Duration) error {
	owner := r.lab.Owner()
	if owner == "" || strings.Contains(owner, "+") {
		return fmt.Errorf("the address has the owner %q, want one", owner)
	}
	for _, n := range r.lab.Nodes() {
		v, err := look(ctx, n)
		if err == nil {
			err = v.amiss(owner)
		}
		if err != nil {
			return fmt.Errorf("on %s: %w", n.Name, err)
		}
	}
	for _, v := range []lab.View{lab.NearClient, lab.Client, lab.HTTP} {
		now := netif.Boottime()
		if o := r.lab.Outage(v, max(since, now-500*time.Millisecond), 0); o.Ongoing || len(o.Answered) == 0 {
			return fmt.Errorf("%s gets no answer", v)
		}
	}
	return nil
}

// weigh takes a sample of every daemon.
func (r *run) weigh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	owner := r.lab.Owner()
	for _, n := range r.lab.Nodes() {
		var status struct {
			PID     int   `json:"pid"`
			Process usage `json:"process"`
		}
		if err := control.NewClient(n.Socket()).Status(ctx, &status); err != nil {
			return err
		}
		who := life{node: n.Name, pid: status.PID, role: "standby"}
		if n.Name == owner {
			who.role = "owner"
		}
		r.lives.add(who, sample{netif.Boottime(), status.Process})
	}
	return nil
}

// pass waits.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
