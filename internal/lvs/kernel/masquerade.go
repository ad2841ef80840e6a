package kernel

import (
	"context"
	"fmt"
	"slices"

	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/nft"
)

// rulesOf are the rules that make fullnat of NAT, servers of weight 0 included.
func rulesOf(t lvs.Table) []nft.Rule {
	var rules []nft.Rule
	for _, s := range t {
		for _, r := range s.Servers {
			if isFullNAT(r) {
				rules = append(rules, ruleOf(s.ID, r))
			}
		}
	}
	return rules
}

func ruleOf(id lvs.ServiceID, r lvs.Server) nft.Rule {
	if id.Protocol == lvs.FWMark {
		return nft.Rule{Mark: id.Mark, Real: unmap(r.Address)}
	}
	return nft.Rule{Protocol: nft.Protocol(id.Protocol), Virtual: unmap(id.Address), Real: unmap(r.Address)}
}

// masqueradeToo sets the rules before the servers that need them, and leaves the
// others until those servers are gone.
func (r *round) masqueradeToo(ctx context.Context, rules []nft.Rule) error {
	more := merge(r.rules, rules)
	if len(rules) == 0 || !r.full && len(more) == len(r.rules) {
		return nil
	}
	if err := r.masquerade.Set(ctx, more); err != nil {
		return fmt.Errorf("masquerade of fullnat: %w", err)
	}
	r.rules = more
	return nil
}

// merge appends the rules that are not there.
func merge(there, more []nft.Rule) []nft.Rule {
	known := make(map[nft.Rule]bool, len(there))
	for _, r := range there {
		known[r] = true
	}
	all := slices.Clone(there)
	for _, r := range more {
		if !known[r] {
			known[r] = true
			all = append(all, r)
		}
	}
	return all
}

// masqueradeOnly removes the rules that no server needs any more.
func (r *round) masqueradeOnly(ctx context.Context, rules []nft.Rule) error {
	var err error
	switch rules := merge(nil, rules); {
	case len(rules) == 0 && r.memory.masquerade:
		err = r.masquerade.Clear(ctx)
	case len(rules) < len(r.rules):
		err = r.masquerade.Set(ctx, rules)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("masquerade of fullnat: %w", err)
	}
	r.rules = merge(nil, rules)
	r.memory.masquerade = len(rules) > 0
	return nil
}

// A lack is a service with servers that are left out, and why.
type lack struct {
	service lvs.Service
	err     error
}

// without leaves servers out of the views of a table that need fullnat when it
// cannot be had: clients sent there would get no answer. Those that are in
// already stay.
func without(noFullNAT error, wanted, views lvs.Table, actual map[lvs.ServiceID]lvs.Service) (lvs.Table, []lack) {
	if noFullNAT == nil {
		return views, nil
	}
	var lacking []lack
	less := slices.Clone(views)
	for i, s := range wanted {
		if s.Leave {
			continue
		}
		var kept, left []lvs.Server
		for j, r := range s.Servers {
			if v := views[i].Servers[j]; isFullNAT(r) && !holds(actual[views[i].ID], v) {
				left = append(left, v)
			} else {
				kept = append(kept, v)
			}
		}
		if len(left) > 0 {
			less[i].Servers = kept
			lacking = append(lacking, lack{views[i], leftOut(left, noFullNAT)})
		}
	}
	return less, lacking
}

func leftOut(servers []lvs.Server, why error) error {
	more := ""
	if n := len(servers) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("real server %s%s left out, for there is no fullnat: %w", servers[0].Address, more, why)
}

func holds(s lvs.Service, r lvs.Server) bool {
	return slices.ContainsFunc(s.Servers, func(h lvs.Server) bool { return h.Address == r.Address && h.Forward == r.Forward })
}
