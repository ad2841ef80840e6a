package habench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
)

// A Bench is a lab in which one fault of one contender is repeated.
type Bench struct {
	lab       *lab.Lab
	contender Contender
	fault     Fault
	metronome *Metronome
	// Who has the address when the fault begins, and who has not.
	active, standby string
}

// Open builds the lab; it needs root, as [lab.Open] says.
func Open(ctx context.Context, c Contender, f Fault, m *Metronome) (*Bench, error) {
	s := c.settings
	s.Near = f.Near
	if s.Config == nil {
		// Debug says why a director does not take over, and text says when, in milliseconds.
		s.Config = func(n lab.Node) string { return s.BuiltIn(n) + "\n[log]\nlevel = \"debug\"\nformat = \"text\"\n" }
		// BuiltIn asks for what has its default.
		s.Directors, s.Group, s.Address = 2, "web", netip.AddrFrom4([4]byte{10, 7, 0, 100})
	}
	l, err := lab.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	return &Bench{lab: l, contender: c, fault: f, metronome: m}, nil
}

// Close ends all of it.
func (b *Bench) Close() error { return b.lab.Close() }

// Pauses around a fault.
const (
	// settled is how long the address has been where it is: announcements are over.
	settled = 2500 * time.Millisecond
	// lossless is how long the client has missed nothing.
	lossless = time.Second
	// decisive is the time in which everything is decided.
	decisive = time.Second
	// patience is how long a pair may take to start, on a busy machine.
	patience = 40 * time.Second
)

// Repeat starts both directors anew, has the fault happen, and undoes it. Faults come at
// all phases of what daemons do periodically if phase is another time from repetition to
// repetition; a second is the longest period.
func (b *Bench) Repeat(ctx context.Context, phase time.Duration) (Sample, error) {
	err := b.start(ctx)
	still := netif.Boottime()
	if err == nil {
		err = pass(ctx, phase)
	}
	if err == nil && b.moved(still) {
		err = errors.New("the address moved before there was a fault")
	}
	if err != nil {
		return Sample{}, errors.Join(fmt.Errorf("start: %w", err), b.clear(ctx))
	}
	sample, err := b.measure(ctx)
	return sample, errors.Join(err, b.clear(ctx))
}

func (b *Bench) measure(ctx context.Context) (Sample, error) {
	var s Sample
	begun := netif.Boottime()
	err := b.fault.Begin(ctx, b)
	if err == nil {
		err = pass(ctx, b.fault.Lasts)
	}
	undone := netif.Boottime()
	s.Outage = b.lab.Outage(b.fault.view(), begun, undone)
	if err == nil && b.fault.Undo != nil {
		err = errors.Join(b.fault.Undo(ctx, b), pass(ctx, b.contender.after))
		s.After = b.lab.Outage(b.fault.view(), undone, 0)
	}
	s.Dual, s.Owner = b.lab.Dual(begun, 0), b.lab.Owner()
	s.Stayed = !b.moved(begun)
	s.Stalled = b.metronome.Stalled(begun, begun+decisive) + b.metronome.Stalled(undone, undone+decisive)
	return s, err
}

// moved reports whether the address went anywhere since a time.
func (b *Bench) moved(since time.Duration) bool {
	for _, e := range b.lab.Timeline() {
		if e.At >= since && strings.HasPrefix(e.What, "address:") {
			return true
		}
	}
	return false
}

// start returns when one director has the address, and the client sees no change.
func (b *Bench) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.lab.StartAll(); err != nil {
		return err
	}
	since := netif.Boottime()
	for {
		if err := pass(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the address, which %q has, does not stay, or clients don't reach it: %w", b.lab.Owner(), err)
		}
		now := netif.Boottime()
		if b.moved(since) {
			since = now
		}
		b.active, b.standby = "dr1", "dr2"
		if b.lab.Owner() == "dr2" {
			b.active, b.standby = b.standby, b.active
		}
		last := b.lab.Outage(b.fault.view(), now-lossless, 0)
		if now-since >= settled && last.Lost == 0 && last.Answered[b.active] > 0 && b.lab.Owner() == b.active {
			return nil
		}
	}
}

// clear ends the programs, as they stand, mends everything, and takes the address from
// who still has it.
func (b *Bench) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := b.lab.Heal(ctx)
	for _, m := range []string{"dr1", "dr2", "gateway"} {
		err = errors.Join(err, b.lab.Plug(ctx, m))
	}
	for _, n := range b.lab.Nodes() {
		_ = b.lab.Kill9(ctx, n.Name)                                 // it may have ended
		_ = signalAll(ctx, b.lab, n.Name, syscall.SIGKILL)           // so may these
		if strings.Contains("+"+b.lab.Owner()+"+", "+"+n.Name+"+") { // its kernel has
			_ = b.lab.RemoveAddress(ctx, n.Name) // the lease may end meanwhile
		}
		for _, name := range b.contender.traces {
			_ = os.Remove(filepath.Join(n.Folder, name)) // there may be none
		}
	}
	return errors.Join(err, b.lab.AwaitOwner(ctx, ""))
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

// Judge compares a sample with what must be: no instant with two owners, the address
// where it belongs, and no outage beyond limit, nor beyond slack after it was undone.
func (b *Bench) Judge(s Sample, limit, slack time.Duration) error {
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if !s.Dual.None() {
		bad("two directors had the address: %+v", s.Dual)
	}
	want := b.active
	if b.fault.Moves {
		want = b.standby
	}
	if s.Owner != want {
		bad("%q has the address at the end, want %s", s.Owner, want)
	}
	if !b.fault.Moves && !s.Stayed {
		bad("the address went elsewhere meanwhile, want it to stay with %s", b.active)
	}
	if s.Outage.Asked == 0 || s.Outage.Lasted > limit {
		bad("outage %s, want at most %s", s.Outage, limit)
	}
	if b.fault.Undo != nil && (s.After.Asked == 0 || s.After.Lasted > slack) {
		bad("outage at %s %s, want at most %s", b.fault.Undone, s.After, slack)
	}
	return errors.Join(wrong...)
}

// Account is what happened since a time, and all that was logged, for people.
func (b *Bench) Account(since time.Duration) string {
	var text strings.Builder
	now, wall := netif.Boottime(), time.Now()
	for _, e := range b.lab.Timeline() {
		if e.At >= since {
			fmt.Fprintf(&text, "%s  %s\n", wall.Add(e.At-now).Format("15:04:05.000"), e) // as in the logs
		}
	}
	for _, n := range b.lab.Nodes() {
		fmt.Fprintf(&text, "log of %s:\n%s\n", n.Name, b.lab.Log(n.Name))
	}
	return text.String()
}
