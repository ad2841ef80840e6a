package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Set makes our tables hold exactly the wanted rules, in one step: no packet
// meets a half of it. If they do already nothing is written. Tables that are not
// as we make them are made anew. Rules that are given twice count once.
//
// Errors wrap [ErrNoKernel], [os.ErrPermission], or the context's.
func Set(ctx context.Context, wanted []Rule) error {
	rules := make(map[Rule]bool, len(wanted))
	for _, r := range wanted {
		c, err := r.canonical()
		if err != nil {
			return err
		}
		rules[c] = true
	}
	return within(ctx, func(k *kernel) error {
		anew := false
		for _, f := range families() {
			built, err := k.plan(f, rules)
			if err != nil {
				return fmt.Errorf("table %s: %w", f, err)
			}
			anew = anew || built
		}
		err := k.Flush()
		if anew && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)) {
			return noKernel(err) // the chain's type or an expression is not there
		}
		return err
	})
}

// Clear removes our tables. Connections that are established keep their
// translation. On a kernel without nf_tables there is nothing to remove.
func Clear(ctx context.Context) error {
	err := Set(ctx, nil)
	if errors.Is(err, ErrNoKernel) {
		return nil
	}
	return err
}

// Rules reads the rules back, sorted. They are those of a table that is as [Set]
// makes it; of another one it is an error.
func Rules(ctx context.Context) ([]Rule, error) {
	var all []Rule
	err := within(ctx, func(k *kernel) error {
		for _, f := range families() {
			there, err := k.exists(f)
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			now, err := k.read(f)
			if err != nil {
				return fmt.Errorf("table %s: %w", f, err)
			}
			for _, rules := range now.rules {
				all = slices.AppendSeq(all, maps.Keys(rules))
			}
		}
		return nil
	})
	slices.SortFunc(all, less)
	return all, err
}

// A kernel is an open connection to it.
type kernel struct {
	*nftables.Conn
	wire *netlink.Conn // the same connection, for what the library does not do
	// sets counts those that the batch makes: their IDs.
	sets uint32
}

// contents are a table's rules, of each group.
type contents map[group]map[Rule]bool

// found is a table that is as we make it.
type found struct {
	rules contents
	// handles are the chain's rules, which are removed by them.
	handles map[group]uint64
}

// writeBuffer is what one batch may have: the system's default of 208 KiB is
// enough for 3,000 elements of IPv6. With CAP_NET_ADMIN the kernel grants it.
const writeBuffer = 16 << 20

// within calls do with a connection that ends with the context.
func within(ctx context.Context, do func(*kernel) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k := &kernel{}
	keep := func(c *netlink.Conn) error {
		k.wire = c
		return errors.Join(c.SetWriteBuffer(writeBuffer), c.SetReadBuffer(writeBuffer))
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(keep))
	if err != nil {
		return explain(ctx, err)
	}
	k.Conn = conn
	defer func() { _ = conn.CloseLasting() }() // nothing is pending
	stop := context.AfterFunc(ctx, func() { _ = k.wire.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return explain(ctx, do(k))
}

// explain names an error for those who have to mend it.
func explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return fmt.Errorf("nftables did not answer: %w", ctx.Err())
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("fullnat's masquerade rules need root, or the capability CAP_NET_ADMIN: %w", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT): // no nfnetlink
		return noKernel(err)
	case errors.Is(err, ErrNoKernel):
		return err
	}
	return fmt.Errorf("fullnat's masquerade rules: %w", err)
}

func noKernel(err error) error { return fmt.Errorf("%w (%w)", ErrNoKernel, err) }

func (k *kernel) exists(f family) (bool, error) {
	tables, err := k.ListTablesOfFamily(f.table.Family)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return false, noKernel(err) // nfnetlink has no such subsystem
	case err != nil:
		return false, err
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool {
		return t.Name == f.table.Name && t.Family == f.table.Family
	}), nil
}

// wantedIn returns the rules that belong in a table.
func wantedIn(f family, rules map[Rule]bool) contents {
	wanted := contents{}
	for r := range rules {
		if !f.isOf(r.Real.Addr()) {
			continue
		}
		g := groupOf(r)
		if wanted[g] == nil {
			wanted[g] = map[Rule]bool{}
		}
		wanted[g][r] = true
	}
	return wanted
}

// plan puts into the batch what makes a table as wanted, and reports whether
// that makes it anew.
func (k *kernel) plan(f family, rules map[Rule]bool) (anew bool, err error) {
	wanted := wantedIn(f, rules)
	there, err := k.exists(f)
	if err != nil {
		return false, err
	}
	if len(wanted) == 0 {
		if there {
			k.DelTable(f.table)
		}
		return false, nil
	}
	if !there {
		return true, k.build(f, wanted)
	}
	now, err := k.read(f)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, err
	case err != nil: // what cannot be read is not as we make it
		return true, k.build(f, wanted)
	}
	return false, k.amend(f, now, wanted)
}

// build makes the table, in place of any that is there.
func (k *kernel) build(f family, wanted contents) error {
	k.AddTable(f.table) // so that there is one to remove
	k.DelTable(f.table)
	k.AddTable(f.table)
	k.AddChain(f.chain())
	for _, g := range slices.SortedFunc(maps.Keys(wanted), group.compare) {
		if err := k.add(f, g, wanted[g]); err != nil {
			return err
		}
	}
	return nil
}

// add makes a group's set and rule.
func (k *kernel) add(f family, g group, rules map[Rule]bool) error {
	k.sets++
	s, err := f.set(g, k.sets)
	if err != nil {
		return err
	}
	if err := k.AddSet(s, nil); err != nil {
		return err
	}
	if err := elements(k.SetAddElements, s, rules, nil); err != nil {
		return err
	}
	k.AddRule(f.rule(g, s))
	return nil
}

// amend adds and removes what differs.
func (k *kernel) amend(f family, now found, wanted contents) error {
	for g, handle := range now.handles {
		if wanted[g] != nil {
			continue
		}
		if err := k.DelRule(&nftables.Rule{Table: f.table, Chain: f.chain(), Handle: handle}); err != nil {
			return err
		}
		k.DelSet(&nftables.Set{Table: f.table, Name: g.name()})
	}
	for _, g := range slices.SortedFunc(maps.Keys(wanted), group.compare) {
		if _, there := now.handles[g]; !there {
			if err := k.add(f, g, wanted[g]); err != nil {
				return err
			}
			continue
		}
		s, err := f.set(g, 0) // an ID would be a set of this batch
		if err != nil {
			return err
		}
		if err := elements(k.SetDeleteElements, s, now.rules[g], wanted[g]); err != nil {
			return err
		}
		if err := elements(k.SetAddElements, s, wanted[g], now.rules[g]); err != nil {
			return err
		}
	}
	return nil
}

// elements passes the rules of one group, except some, on in portions: the length
// of a netlink attribute has 16 bits, and an element takes up to 40 bytes.
func elements(pass func(*nftables.Set, []nftables.SetElement) error, s *nftables.Set, rules, except map[Rule]bool) error {
	const portion = 1000
	var list []nftables.SetElement
	for r := range rules {
		if !except[r] {
			list = append(list, nftables.SetElement{Key: key(r)})
		}
	}
	for part := range slices.Chunk(list, portion) {
		if err := pass(s, part); err != nil {
			return err
		}
	}
	return nil
}

// errLayout is a table that is not as we make it.
var errLayout = errors.New("it is not as monitord makes it")

// read returns the rules of a table that is as we make it.
func (k *kernel) read(f family) (found, error) {
	if err := k.checkChain(f); err != nil {
		return found{}, err
	}
	stamps, err := k.stamps(f)
	if err != nil {
		return found{}, err
	}
	sets, err := k.GetSets(f.table)
	if err != nil {
		return found{}, err
	}
	if len(sets) != len(stamps) {
		return found{}, errLayout
	}
	now := found{contents{}, map[group]uint64{}}
	for _, s := range sets {
		g, known := f.groupNamed(s.Name)
		handle, stamped := stamps[string(g.stamp())]
		if !known || !stamped {
			return found{}, errLayout
		}
		now.handles[g] = handle
		if now.rules[g], err = k.readSet(f, g, s); err != nil {
			return found{}, err
		}
	}
	return now, nil
}

func alike(s, want *nftables.Set) bool {
	return s.KeyType.Name == want.KeyType.Name && s.KeyType.Bytes == want.KeyType.Bytes &&
		!s.IsMap && !s.Interval && !s.HasTimeout && !s.Constant
}

func (k *kernel) readSet(f family, g group, s *nftables.Set) (map[Rule]bool, error) {
	want, err := f.set(g, 0)
	switch {
	case err != nil:
		return nil, err
	case !alike(s, want):
		return nil, errLayout
	}
	elements, err := k.GetSetElements(s)
	if err != nil {
		return nil, err
	}
	rules := make(map[Rule]bool, len(elements))
	for _, e := range elements {
		r, err := f.ruleOf(g, e.Key)
		if err != nil {
			return nil, err
		}
		rules[r] = true
	}
	return rules, nil
}

func (k *kernel) checkChain(f family) error {
	chains, err := k.ListChainsOfTableFamily(f.table.Family)
	if err != nil {
		return err
	}
	want, own := f.chain(), 0
	for _, c := range chains {
		if c.Table == nil || c.Table.Name != f.table.Name {
			continue
		}
		own++
		if c.Name != want.Name || c.Type != want.Type || c.Hooknum == nil || *c.Hooknum != *want.Hooknum ||
			*c.Priority != *want.Priority {
			return errLayout
		}
	}
	if own != 1 {
		return errLayout
	}
	return nil
}

// stamps returns the handles of the chain's rules by their user data, of which no
// two are alike. The library would decode the rules' expressions as well, and
// fails at the direction of ct, which it writes with 32 bits and the kernel
// returns with 8.
func (k *kernel) stamps(f family) (map[string]uint64, error) {
	names := netlink.NewAttributeEncoder()
	names.String(unix.NFTA_RULE_TABLE, f.table.Name)
	names.String(unix.NFTA_RULE_CHAIN, f.chain().Name)
	data, err := names.Encode()
	if err != nil {
		return nil, err
	}
	replies, err := k.wire.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE),
			Flags: netlink.Request | netlink.Dump,
		},
		Data: append([]byte{byte(f.table.Family), unix.NFNETLINK_V0, 0, 0}, data...),
	})
	if err != nil {
		return nil, err
	}
	stamps := make(map[string]uint64, len(replies))
	for _, m := range replies {
		stamp, handle, err := stampOf(m)
		if err != nil {
			return nil, err
		}
		if _, twice := stamps[stamp]; twice {
			return nil, errLayout
		}
		stamps[stamp] = handle
	}
	return stamps, nil
}

func stampOf(m netlink.Message) (stamp string, handle uint64, err error) {
	const head = 4 // struct nfgenmsg
	if len(m.Data) < head {
		return "", 0, fmt.Errorf("a rule of %d bytes: %w", len(m.Data), syscall.EBADMSG)
	}
	attributes, err := netlink.NewAttributeDecoder(m.Data[head:])
	if err != nil {
		return "", 0, err
	}
	attributes.ByteOrder = binary.BigEndian
	for attributes.Next() {
		switch attributes.Type() {
		case unix.NFTA_RULE_USERDATA:
			stamp = string(attributes.Bytes())
		case unix.NFTA_RULE_HANDLE:
			handle = attributes.Uint64()
		}
	}
	return stamp, handle, attributes.Err()
}
