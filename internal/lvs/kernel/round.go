package kernel

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/nft"
)

// A round is one Set at work. Its state replaces the backend's at the end.
type round struct {
	*Kernel
	state
	settings Settings
	activity lvs.Activity
	// index is where a service is in last, which is the wanted table, and in views.
	index map[lvs.ServiceID]int
	// full says to read the kernel's table, fresh that the settings are new.
	full, fresh bool
	repair      Repair
}

// look takes in the wanted table, and of the one before what is the same.
func (r *round) look(wanted lvs.Table) {
	last, seen := make(lvs.Table, len(wanted)), make(lvs.Table, len(wanted))
	r.index = make(map[lvs.ServiceID]int, len(wanted))
	for i := range wanted {
		if i < len(r.last) && wanted[i:i+1].Equal(r.last[i:i+1]) {
			last[i], seen[i] = r.last[i], r.views[i]
		} else {
			last[i] = wanted[i : i+1].Clone()[0]
			seen[i] = view(last[i])
		}
		r.index[seen[i].ID] = i
	}
	r.last, r.views = last, seen
}

// wants reports whether the service is wanted.
func (r *round) wants(id lvs.ServiceID) bool {
	_, ok := r.index[id]
	return ok
}

// attempts is how often a table is read anew that changed while we worked on it.
const attempts = 3

func (r *round) run(ctx context.Context) error {
	for try := 1; ; try++ {
		surprised, err := r.pass(ctx)
		if !surprised || try == attempts {
			return err
		}
		r.full = true
	}
}

// pass makes the kernel equal once. It is surprised if the kernel's table turned
// out to be another one than it was taken for.
func (r *round) pass(ctx context.Context) (surprised bool, err error) {
	actual := r.known
	if r.full {
		if actual, err = r.read(ctx, r.name, r.owns); err != nil {
			return false, err
		}
	}
	suspects := r.suspects(actual)
	errs, noFullNAT := r.prepare(ctx)
	wanted, lacking := without(noFullNAT, r.last, r.views, actual)

	p := newPerformer(r.access, actual, r.find)
	p.lack(lacking)
	p.perform(ctx, lvs.Changes(differing(actual, wanted, r.wants)))
	r.report(suspects, p)
	r.learn(actual, wanted, p)

	errs = append(errs, p.errors()...)
	if p.stopped == nil {
		r.started = r.started || r.full
		errs = append(errs, r.finish(ctx, p)...)
	}
	r.forget(actual, p)
	errs = append(errs, r.save())
	return p.surprised && p.stopped == nil, errors.Join(errs...)
}

// find returns the view of a wanted service, or nothing.
func (r *round) find(id lvs.ServiceID) (s lvs.Service) {
	if i, ok := r.index[id]; ok {
		s = r.views[i]
	}
	return s
}

// name is that of a wanted service.
func (r *round) name(id lvs.ServiceID) (string, bool) { return r.find(id).Name, r.wants(id) }

// prepare has everything there that the changes need, after it was remembered.
// Its second result says why there can be no fullnat.
func (r *round) prepare(ctx context.Context) (errs []error, noFullNAT error) {
	for id, i := range r.index {
		if !r.views[i].Leave {
			r.memory.services[id] = true
		}
	}
	rules := r.rulesNow()
	r.memory.masquerade = r.memory.masquerade || len(rules) > 0
	raised := r.sysctls(r.sysctlsFor(decided(r.last)))
	errs = []error{r.save()}
	for _, n := range raised {
		err := r.raise(n)
		errs = append(errs, err)
		if n.key == conntrack {
			noFullNAT = err
		}
	}
	err := r.masqueradeToo(ctx, rules)
	return append(errs, err), errors.Join(noFullNAT, err)
}

// finish sets what no server depends on, and undoes what none needs any more.
func (r *round) finish(ctx context.Context, p *performer) []error {
	var errs []error
	if r.full {
		errs = append(errs, flaw(r.setTimeouts(ctx)))
	}
	if r.full || r.activity != r.ran {
		errs = append(errs, flaw(r.runDaemons(ctx)))
		r.ran = r.activity
	}
	errs = append(errs, r.lower(r.sysctlsFor(r.last))...)
	if p.cleanAll() {
		errs = append(errs, r.masqueradeOnly(ctx, r.rulesNow()))
	}
	return errs
}

// flaw is an error that no service suffers from.
func flaw(err error) error {
	if err == nil {
		return nil
	}
	return &lvs.Flaw{Err: err}
}

// decided are the services that are not to be left as they are.
func decided(t lvs.Table) lvs.Table {
	return slices.DeleteFunc(slices.Clone(t), func(s lvs.Service) bool { return s.Leave })
}

// rulesNow are the rules of fullnat. Of services that are to be left a process before
// has made them, or nobody.
func (r *round) rulesNow() []nft.Rule {
	if r.memory.masquerade {
		return rulesOf(r.last)
	}
	return rulesOf(decided(r.last))
}

// owns reports whether the service is removed when it is not wanted.
func (r *round) owns(id lvs.ServiceID) bool {
	return r.settings.Own == OwnAll || r.memory.services[id]
}

// forget drops from memory what has been removed, or is not there.
func (r *round) forget(actual map[lvs.ServiceID]lvs.Service, p *performer) {
	for id := range r.memory.services {
		if _, there := actual[id]; !r.wants(id) && (!there || p.clean(id)) {
			delete(r.memory.services, id)
		}
	}
}

// read returns what the kernel holds of the wanted services, which have a name,
// with their servers, and those others, without, that have to go.
func (k *Kernel) read(ctx context.Context, name func(lvs.ServiceID) (string, bool), goes func(lvs.ServiceID) bool) (map[lvs.ServiceID]lvs.Service, error) {
	services, err := k.access.Services(ctx)
	if err != nil {
		return nil, err
	}
	actual := make(map[lvs.ServiceID]lvs.Service, len(services))
	for _, s := range services {
		found := fromService(s)
		name, isWanted := name(found.ID)
		switch {
		case isWanted:
			found.Name = name
			gone, err := k.fill(ctx, &found)
			if err != nil {
				return nil, err
			}
			if gone {
				continue
			}
		case goes(found.ID):
			found.Name = found.ID.String()
		default:
			continue
		}
		actual[found.ID] = found
	}
	return actual, nil
}

// fill reads a service's servers. It may be gone meanwhile.
func (k *Kernel) fill(ctx context.Context, s *lvs.Service) (gone bool, err error) {
	destinations, err := k.access.Destinations(ctx, keyOf(s.ID))
	if errors.Is(err, ipvs.ErrMissing) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	s.Servers = make([]lvs.Server, len(destinations))
	for i, d := range destinations {
		s.Servers[i] = fromDestination(d)
	}
	return false, nil
}

// differing returns of both tables what is not the same in both. Services that
// are not wanted come in a fixed order.
func differing(actual map[lvs.ServiceID]lvs.Service, wanted lvs.Table, wants func(lvs.ServiceID) bool) (from, to lvs.Table) {
	for _, w := range wanted {
		a, there := actual[w.ID]
		if there && same(a, w) {
			continue
		}
		if there {
			from = append(from, a)
		}
		to = append(to, w)
	}
	stays := len(from)
	for id, a := range actual {
		if !wants(id) {
			from = append(from, a)
		}
	}
	slices.SortFunc(from[stays:], func(a, b lvs.Service) int { return compareIDs(a.ID, b.ID) })
	return from, to
}

// same is quick where the order of servers is the same too, as it is in what was
// set last; the rest is for [lvs.Changes] to find out.
func same(a, b lvs.Service) bool {
	return a.Scheduler == b.Scheduler && a.Flags == b.Flags && a.Persistence == b.Persistence && a.Mask == b.Mask &&
		slices.Equal(a.Servers, b.Servers)
}

// A place is a service, or a server of it, in the kernel's table.
type place struct {
	service lvs.ServiceID
	server  netip.AddrPort
}

func placeOf(c lvs.Change) place { return place{c.Service.ID, c.Server.Address} }

// suspects are the places where the kernel holds something else than we left
// there: changes of them are repairs. Services in doubt are not among them.
func (r *round) suspects(actual map[lvs.ServiceID]lvs.Service) map[place]bool {
	if !r.full {
		return nil
	}
	var have, left lvs.Table
	for id, a := range actual {
		if k, ours := r.known[id]; !r.doubt[id] && (!ours || !same(a, k)) {
			have = append(have, a)
		}
	}
	for id, k := range r.known {
		if a, there := actual[id]; !there || !same(a, k) {
			left = append(left, k)
		}
	}
	all := map[place]bool{}
	for _, c := range lvs.Changes(have, left) {
		all[placeOf(c)] = true
	}
	r.adopt(actual, all)
	return all
}

// adopt notes the wanted services that were there before us. Whatever is changed
// of them is a repair too.
func (r *round) adopt(actual map[lvs.ServiceID]lvs.Service, suspects map[place]bool) {
	for _, w := range r.views {
		a, there := actual[w.ID]
		if _, ours := r.known[w.ID]; !there || ours || r.doubt[w.ID] {
			continue
		}
		r.repair.Adopted = append(r.repair.Adopted, w.ID)
		for _, s := range append(slices.Clone(a.Servers), w.Servers...) {
			suspects[place{w.ID, s.Address}] = true
		}
	}
}

// report notes the repairs among what was done.
func (r *round) report(suspects map[place]bool, p *performer) {
	for _, c := range p.done {
		astray := p.astray[placeOf(c)] && (c.Operation == lvs.AddServer || c.Operation == lvs.EditServer)
		if astray || suspects[placeOf(c)] {
			r.repair.Changes = append(r.repair.Changes, c)
		}
	}
}

// learn notes what the kernel holds after the changes. A service that gave an
// error is in doubt, and what is changed of it later no repair.
func (r *round) learn(actual map[lvs.ServiceID]lvs.Service, wanted lvs.Table, p *performer) {
	r.known = make(map[lvs.ServiceID]lvs.Service, len(wanted))
	r.doubt = map[lvs.ServiceID]bool{}
	for _, w := range wanted {
		switch a, there := actual[w.ID]; {
		case w.Leave && there:
			r.known[w.ID] = a
		case w.Leave:
		case !p.untouched(w.ID) && p.clean(w.ID):
			r.known[w.ID] = w
		case !p.untouched(w.ID):
			r.doubt[w.ID] = true
		case there:
			r.known[w.ID] = a
		}
	}
	for id := range actual {
		if !r.wants(id) && !p.clean(id) {
			r.doubt[id] = true
		}
	}
}
