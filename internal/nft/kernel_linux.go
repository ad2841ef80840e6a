package nft

import (
	"context"
	"errors"
	"fmt"
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
		for i, f := range families() {
			built, err := k.plan(f, 1+i*len(f.forms()), rules)
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
			for r := range now {
				all = append(all, r)
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

// plan puts into the batch what makes a table as wanted, and reports whether
// that makes it anew.
func (k *kernel) plan(f family, firstID int, rules map[Rule]bool) (anew bool, err error) {
	wanted := map[Rule]bool{}
	for r := range rules {
		if f.has(r) {
			wanted[r] = true
		}
	}
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
		return true, k.build(f, firstID, wanted)
	}
	now, err := k.read(f)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, err
	case err != nil: // what cannot be read is not as we make it
		return true, k.build(f, firstID, wanted)
	}
	return false, k.amend(f, now, wanted)
}

// build makes the table, in place of any that is there.
func (k *kernel) build(f family, firstID int, wanted map[Rule]bool) error {
	k.AddTable(f.table) // so that there is one to remove
	k.DelTable(f.table)
	k.AddTable(f.table)
	k.AddChain(f.chain())
	for i, m := range f.forms() {
		s, err := f.set(m, firstID+i)
		if err != nil {
			return err
		}
		if err := k.AddSet(s, nil); err != nil {
			return err
		}
		if err := k.elements(k.SetAddElements, s, i, wanted, nil); err != nil {
			return err
		}
		k.AddRule(f.rule(m, s))
	}
	return nil
}

// amend adds and removes what differs.
func (k *kernel) amend(f family, now, wanted map[Rule]bool) error {
	for i, m := range f.forms() {
		s, err := f.set(m, 0) // an ID would be a set of this batch
		if err != nil {
			return err
		}
		if err := k.elements(k.SetDeleteElements, s, i, now, wanted); err != nil {
			return err
		}
		if err := k.elements(k.SetAddElements, s, i, wanted, now); err != nil {
			return err
		}
	}
	return nil
}

// elements passes the rules of one form, except some, on in portions: the length
// of a netlink attribute has 16 bits, and an element takes up to 60 bytes.
func (k *kernel) elements(pass func(*nftables.Set, []nftables.SetElement) error, s *nftables.Set, which int, rules, except map[Rule]bool) error {
	const portion = 1000
	var list []nftables.SetElement
	for r := range rules {
		if formOf(r) == which && !except[r] {
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
func (k *kernel) read(f family) (map[Rule]bool, error) {
	if err := k.checkChain(f); err != nil {
		return nil, err
	}
	stamps, err := k.stamps(f)
	if err != nil {
		return nil, err
	}
	sets, err := k.GetSets(f.table)
	if err != nil {
		return nil, err
	}
	forms, rules := f.forms(), map[Rule]bool{}
	if len(sets) != len(forms) || len(stamps) != len(forms) {
		return nil, errLayout
	}
	for i, m := range forms {
		want, err := f.set(m, 0)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(sets, func(s *nftables.Set) bool { return s.Name == m.name })
		if at < 0 || !alike(sets[at], want) || stamps[i] != string(m.stamp()) {
			return nil, errLayout
		}
		if err := k.readSet(f, i, sets[at], rules); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

func alike(s, want *nftables.Set) bool {
	return s.KeyType.Name == want.KeyType.Name && s.KeyType.Bytes == want.KeyType.Bytes &&
		!s.IsMap && !s.Interval && !s.HasTimeout && !s.Constant
}

func (k *kernel) readSet(f family, which int, s *nftables.Set, rules map[Rule]bool) error {
	elements, err := k.GetSetElements(s)
	if err != nil {
		return err
	}
	for _, e := range elements {
		r, err := f.ruleOf(which, e.Key)
		if err != nil {
			return err
		}
		rules[r] = true
	}
	return nil
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

// stamps returns the user data of the chain's rules, in order. The library would
// decode the rules' expressions as well, and fails at the direction of ct, which
// it writes with 32 bits and the kernel returns with 8.
func (k *kernel) stamps(f family) ([]string, error) {
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
	stamps := make([]string, 0, len(replies))
	for _, m := range replies {
		stamp, err := stampOf(m)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, stamp)
	}
	return stamps, nil
}

func stampOf(m netlink.Message) (string, error) {
	const head = 4 // struct nfgenmsg
	if len(m.Data) < head {
		return "", fmt.Errorf("a rule of %d bytes: %w", len(m.Data), syscall.EBADMSG)
	}
	attributes, err := netlink.NewAttributeDecoder(m.Data[head:])
	if err != nil {
		return "", err
	}
	stamp := ""
	for attributes.Next() {
		if attributes.Type() == unix.NFTA_RULE_USERDATA {
			stamp = string(attributes.Bytes())
		}
	}
	return stamp, attributes.Err()
}
