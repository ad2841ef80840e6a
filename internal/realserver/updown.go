package realserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/state"
)

// A server is this machine with its memory opened.
type server struct {
	kernel kernel
	store  *state.Store
}

// unwinding bounds the way back from an Up that failed, whose context may be over.
const unwinding = 30 * time.Second

// Up makes this machine take packets for the VIPs and keep silent about them. What
// is right already stays as it is; what is not, or no longer, is put right. If
// anything fails, what this call has changed for VIPs that were not up before is
// undone. A VIP that is up in another way than the one asked for is an error.
func Up(ctx context.Context, c Config) (Report, error) { return upOn(ctx, linux{}, c) }

func upOn(ctx context.Context, k kernel, c Config) (report Report, err error) {
	entries, err := c.entries()
	if err != nil {
		return report, err
	}
	if len(entries) == 0 {
		return report, errors.New("no VIP is given")
	}
	store, err := state.Await(ctx, c.dir())
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s := &server{k, store}
	m, err := s.load(&report)
	if err != nil {
		return report, err
	}
	return report, s.up(ctx, m, entries, &report)
}

func (s *server) up(ctx context.Context, m memory, entries []entry, report *Report) error {
	before := slices.Clone(m.VIPs)
	for _, e := range entries {
		switch is := m.entry(e); {
		case is == nil:
			m.VIPs = append(m.VIPs, e)
		case !is.equal(e):
			return fmt.Errorf("%s is up already in another way, %s: take it down first", e.VIP, is)
		}
	}
	if err := s.save(m); err != nil {
		return err
	}
	for _, e := range entries {
		for _, w := range plan(e) {
			if err := s.ensure(ctx, &m, w, report); err != nil {
				return errors.Join(fmt.Errorf("%s: %w", e, err), s.unwind(ctx, before, m, report))
			}
		}
	}
	return nil
}

// ensure makes one thing right, having written down what it was.
func (s *server) ensure(ctx context.Context, m *memory, w want, report *Report) error {
	right, is, err := s.look(ctx, w)
	if err != nil || right {
		return err
	}
	if w.thing.Kind != quiet && w.thing.Kind != elsewhere {
		if c := m.change(w.thing); c == nil {
			m.Changes = append(m.Changes, change{w.thing, is, w.value})
		} else if is != c.Written {
			// Somebody has changed it since: what Down returns to is theirs.
			*c = change{w.thing, is, w.value}
		}
		if err := s.save(*m); err != nil {
			return err
		}
	}
	if err := s.kernel.write(ctx, w.thing, w.value); err != nil {
		if errors.Is(err, netif.ErrPermission) {
			return fmt.Errorf("%w; this takes root, or the capability CAP_NET_ADMIN and a writable /proc/sys", err)
		}
		return err
	}
	report.done("%s: %s, was %s", w.thing, w.value, is)
	return nil
}

// look reads a thing and says whether it is as wanted.
func (s *server) look(ctx context.Context, w want) (right bool, is string, err error) {
	if is, err = s.kernel.read(ctx, w.thing); err != nil {
		return false, is, err
	}
	other := ""
	if w.and != nil {
		if other, err = s.kernel.read(ctx, *w.and); err != nil {
			return false, is, err
		}
	}
	return w.accepts(is, other), is, nil
}

// unwind undoes what an Up that failed has changed for VIPs that were not up
// before. What it mended for the others stays.
func (s *server) unwind(ctx context.Context, before []entry, m memory, report *Report) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unwinding)
	defer cancel()
	m.VIPs, report.Done = before, nil
	return s.undoIdle(ctx, &m, report)
}

// Down undoes what Up did for the VIPs; without VIPs, for all that are up. Only
// VIPs and StateDir of the configuration matter. A VIP that is not up is no error.
// What cannot be undone stays in the memory, and the next Down tries again.
func Down(ctx context.Context, c Config) (Report, error) { return downOn(ctx, linux{}, c) }

func downOn(ctx context.Context, k kernel, c Config) (report Report, err error) {
	for _, vip := range c.VIPs {
		if err := usable(vip.Unmap()); err != nil {
			return report, err
		}
	}
	store, err := state.Await(ctx, c.dir())
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s := &server{k, store}
	m, err := s.load(&report)
	if err != nil {
		return report, err
	}
	return report, s.down(ctx, m, c.VIPs, &report)
}

func (s *server) down(ctx context.Context, m memory, vips []netip.Addr, report *Report) error {
	var gone []entry
	if len(vips) == 0 {
		gone, m.VIPs = m.VIPs, nil
	}
	for _, vip := range vips {
		e := m.entry(entry{VIP: vip.Unmap()})
		if e == nil {
			report.left("%s was not put up by this command", vip)
			continue
		}
		gone = append(gone, *e)
		m.VIPs = slices.DeleteFunc(m.VIPs, func(o entry) bool { return o.VIP == vip.Unmap() })
	}
	if err := s.save(m); err != nil {
		return err
	}
	s.sayAdopted(ctx, m, gone, report)
	return s.undoIdle(ctx, &m, report)
}

// sayAdopted names the addresses that stay because they were there before Up.
func (s *server) sayAdopted(ctx context.Context, m memory, gone []entry, report *Report) {
	for _, e := range gone {
		t := thing{Kind: address, Device: e.Device, VIP: e.VIP}
		if m.change(t) != nil {
			continue
		}
		if is, err := s.kernel.read(ctx, t); err == nil && is == present {
			report.left("%s stays: it was there before", t)
		}
	}
}

// undoIdle gives the things that no VIP needs their previous values, addresses
// first: the machine stays silent about an address that cannot be removed.
func (s *server) undoIdle(ctx context.Context, m *memory, report *Report) error {
	var changes []change
	for _, c := range m.Changes {
		if !m.needs(c.Thing) {
			changes = append(changes, c)
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(rank(a.Thing.Kind), rank(b.Thing.Kind)) })
	var failed []error
	stays := false
	for _, c := range changes {
		if stays && c.Thing.Kind != address {
			report.left("%s stays as it is, as an address that needs it could not be removed", c.Thing)
			continue
		}
		if err := s.undoOne(ctx, c, report); err != nil {
			failed = append(failed, err)
			stays = stays || c.Thing.Kind == address
			continue
		}
		m.forget(c.Thing)
	}
	return errors.Join(errors.Join(failed...), s.save(*m))
}

func (s *server) undoOne(ctx context.Context, c change, report *Report) error {
	is, err := s.kernel.read(ctx, c.Thing)
	if err != nil {
		return err
	}
	switch {
	case is == c.Previous:
		return nil // Never made, or undone by somebody else.
	case is == absent:
		return nil // The device is gone, and its settings with it.
	case is != c.Written:
		report.left("%s stays %s: somebody else has changed it since it was set to %s (it was %s before)", c.Thing, is, c.Written, c.Previous)
		return nil
	}
	if err := s.kernel.write(ctx, c.Thing, c.Previous); err != nil {
		return err
	}
	if c.Thing.Kind == tunnel {
		if is, err := s.kernel.read(ctx, c.Thing); err != nil || is != c.Previous {
			report.left("%s stays, down and without address: it belongs to the module %s, which stays loaded", c.Thing, module(c.Thing))
			return err
		}
	}
	report.done("%s: %s again", c.Thing, c.Previous)
	return nil
}

func vips(entries []entry) string {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.VIP.String()
	}
	return strings.Join(names, ", ")
}
