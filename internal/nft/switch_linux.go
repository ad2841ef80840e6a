package nft

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Silence has the bridges of the calling thread's network namespace drop every frame
// that would go from one port to another: for each of the pairs, and from now on for
// these alone, in one step. The rules are in a table of their own, "bridge monitord".
// [errors.ErrUnsupported] without nftables for bridges in the kernel.
func Silence(ctx context.Context, pairs []PortPair) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("silence ports of a bridge: %w", err)
	}
	table := &nftables.Table{Name: Table, Family: nftables.TableFamilyBridge}
	c.AddTable(table) // so that there is one to remove
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{
		Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	for _, p := range pairs {
		from, to := device(p.From), device(p.To)
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: from[:]},
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: to[:]},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}})
	}
	err = c.Flush()
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EAFNOSUPPORT) {
		err = fmt.Errorf("no nftables for bridges in the kernel (modprobe nf_tables; CONFIG_NF_TABLES_BRIDGE): %w (%w)", errors.ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("silence ports of a bridge: %w", err)
	}
	return nil
}

// device is a name as the kernel compares it.
func device(name string) (padded [unix.IFNAMSIZ]byte) {
	copy(padded[:], name)
	return padded
}
