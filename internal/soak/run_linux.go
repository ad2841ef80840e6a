package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// cycle is how long it goes at most until processes may end again: in its first half
// they may, in the second they live, so that it can be seen whether they grow.
const cycle = 20 * time.Minute

// A run is one soak.
type run struct {
	o       Options
	lab     *lab.Lab
	plan    *planner
	bounds  map[director.Failure]time.Duration
	dual    time.Duration // what two may have the address for when faults come on faults
	slack   time.Duration // how late a ping's answer may be taken in
	stalls  stalls
	lives   lives
	summary Summary

	script  strings.Builder
	last    time.Duration // when its last line was done
	planned time.Duration // what all episodes until now were planned to take
}

// Run soaks until the time is over, ctx ends, or something is not as promised, which is
// the error. It needs root, as [lab.Open] says. The summary is nil if there was no lab.
func Run(ctx context.Context, o Options) (*Summary, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	r := &run{o: o, plan: newPlanner(o.Seed)}
	err := r.promise()
	if err == nil {
		r.lab, err = lab.Open(ctx, r.settings())
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(o.Out, "soak: seed %d\n", o.Seed)
	stop, err := r.stalls.watch()
	if err != nil {
		return nil, errors.Join(err, r.lab.Close())
	}
	began := netif.Boottime()
	err = r.soak(ctx, began)
	stop()
	r.summary.Seed, r.summary.Lasted = o.Seed, netif.Boottime()-began
	r.summary.Stalled = r.stalls.longest(0, netif.Boottime())
	r.summary.Growth = r.lives.growth()
	r.summary.Script = r.script.String()
	r.summary.sort()
	switch {
	case ctx.Err() != nil:
		err = nil // somebody has seen enough
	case err == nil:
		err = judgeGrowth(r.summary.Growth)
	}
	return &r.summary, errors.Join(r.account(err), r.lab.Close())
}

func (r *run) settings() lab.Settings {
	// What BuiltIn needs is given here.
	s := lab.Settings{Directors: 2, Witness: r.o.Witness, Near: true, Group: "web", Address: netip.AddrFrom4([4]byte{10, 7, 0, 100}), Binary: r.o.Binary}
	built := s
	// Debug: it says why a director does not take over.
	s.Config = func(n lab.Node) string { return built.BuiltIn(n) + "\n[log]\nlevel = \"debug\"\n" }
	return s
}

// promise computes what is to be kept, from the timings that the daemons have by default.
func (r *run) promise() error {
	c := director.Config{
		Self: "dr1", Nodes: []director.Node{{Name: "dr1"}, {Name: "dr2"}}, Gateways: []string{lab.Gateway().String()},
		Groups: []director.Group{{Name: "web", Before: true}}, Timings: director.DefaultTimings(),
	}
	if r.o.Witness {
		c.Nodes = append(c.Nodes, director.Node{Name: "witness", Witness: true})
	}
	bounds, err := director.Bounds(c)
	r.bounds = map[director.Failure]time.Duration{}
	for _, b := range bounds {
		r.bounds[b.Failure] = b.Limit
	}
	r.slack = c.Timings.PingWindow - c.Timings.FastPing
	r.dual = c.Timings.Lease + c.Timings.LeaseMargin
	return err
}

// soak has one episode after another happen.
func (r *run) soak(ctx context.Context, began time.Duration) error {
	r.last = netif.Boottime()
	if err := r.lab.StartAll(); err != nil {
		return err
	}
	if err := r.well(ctx, netif.Boottime()); err != nil {
		return err
	}
	if err := pass(ctx, long); err != nil {
		return err
	}
	whole := min(cycle, r.o.Lasts)
	for netif.Boottime()-began < r.o.Lasts {
		e := r.plan.next(r.planned%whole > whole/2)
		r.planned += e.lasts()
		if err := r.episode(ctx, e); err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
	}
	return nil
}

// A seen is what became of an episode.
type seen struct {
	owner    string // before
	from     time.Duration
	healing  time.Duration // when the first fault was ended; 0: it was not
	held     string        // who had it just before
	ended    time.Duration // when the last step was done
	wellAt   time.Duration
	to       time.Duration
	dual     time.Duration
	near     lab.Outage
	client   lab.Outage
	http     lab.Outage
	healNear lab.Outage
}

func (r *run) episode(ctx context.Context, e episode) error {
	s := seen{owner: r.lab.Owner(), from: netif.Boottime()}
	watched, stop := r.watch(ctx, e, s.from)
	defer stop()
	err := r.play(watched, e, &s)
	if err == nil {
		err = r.well(watched, s.ended)
	}
	s.wellAt = netif.Boottime()
	if err == nil {
		err = pass(watched, e.settle)
	}
	s.to = netif.Boottime()
	if cause := context.Cause(watched); cause != nil {
		err = cause
	}
	r.measure(&s)
	fmt.Fprintf(r.o.Out, "%8.1f  %-60s outage %4s  http %4s  dual %s  well after %s ms, owner %s\n", s.from.Seconds(), e,
		ms(s.near.Lasted), ms(s.http.Lasted), ms(s.dual), ms(s.wellAt-s.ended), r.lab.Owner())
	if err != nil {
		return err
	}
	r.count(e, s)
	if err := errors.Join(r.judge(e, s), r.still(e, s)); err != nil {
		return err
	}
	return r.weigh(ctx)
}

// watch ends the context as soon as two directors have had the address for too long.
func (r *run) watch(ctx context.Context, e episode, from time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pass(ctx, 50*time.Millisecond) == nil {
			if err := r.judgeDual(e, r.lab.Dual(from, 0)); err != nil {
				cancel(err)
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// play does the lines of an episode.
func (r *run) play(ctx context.Context, e episode, s *seen) error {
	for _, step := range e.steps {
		if err := pass(ctx, step.pause); err != nil {
			return err
		}
		if step.heals && s.healing == 0 {
			s.healing, s.held = netif.Boottime(), r.lab.Owner()
		}
		err := r.do(ctx, step.line)
		if err != nil && (e.single() || step.line != "switchover") { // which may be refused amid other faults
			return err
		}
	}
	s.ended = netif.Boottime()
	return nil
}

// linePatience is how long a line may take. A daemon hands over what it has when it is
// stopped, if need be without success.
const linePatience = 30 * time.Second

func (r *run) do(ctx context.Context, line string) error {
	ctx, cancel := context.WithTimeout(ctx, linePatience)
	defer cancel()
	fmt.Fprintf(&r.script, "wait %s\n%s\n", (netif.Boottime() - r.last).Round(time.Millisecond), line)
	err := r.lab.Do(ctx, line)
	r.last = netif.Boottime()
	return err
}

func (r *run) measure(s *seen) {
	s.near, s.client, s.http = r.lab.Outage(lab.NearClient, s.from, s.to), r.lab.Outage(lab.Client, s.from, s.to), r.lab.Outage(lab.HTTP, s.from, s.to)
	if s.healing != 0 {
		s.healNear = r.lab.Outage(lab.NearClient, s.healing, s.to)
	}
	d := r.lab.Dual(s.from, s.to)
	s.dual = max(d.Kernels, d.Sampled)
}

// count adds to the summary.
func (r *run) count(e episode, s seen) {
	healed := s.wellAt - s.ended
	if !e.single() {
		r.summary.Compound++
		r.summary.DualCompound += s.dual
		r.summary.Longest = max(r.summary.Longest, s.dual)
		r.summary.HealedCompound = max(r.summary.HealedCompound, healed)
		row := r.summary.row(severalFaults, false, -1)
		row.Outages, row.HTTP = append(row.Outages, s.near.Lasted), append(row.HTTP, s.http.Lasted)
		return
	}
	f := e.faults[0]
	limit, bounded := r.limit(f, s.owner)
	if !bounded {
		limit = -1
	}
	r.summary.Single++
	r.summary.Dual += s.dual
	r.summary.Healed = max(r.summary.Healed, healed)
	row := r.summary.row(f.name, f.node == s.owner || f.node == "" && f.moves, limit)
	row.Outages, row.HTTP = append(row.Outages, s.near.Lasted), append(row.HTTP, s.http.Lasted)
}
