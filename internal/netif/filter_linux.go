package netif

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// onlyAdvertisements leaves the rest of IPv6 to the kernel.
func onlyAdvertisements(fd int) error {
	return filtered(fd, []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherHeader + 6, Size: 1},
		bpf.JumpIf{Val: icmpv6, SkipFalse: 3},
		bpf.LoadAbsolute{Off: etherHeader + ipv6Header, Size: 1},
		bpf.JumpIf{Val: advertisement, SkipFalse: 1},
		bpf.RetConstant{Val: 0xffff},
		bpf.RetConstant{Val: 0},
	})
}

// mostFiltered is for how many addresses there is room in a filter: each takes two of its
// 4096 instructions (BPF_MAXINSNS).
const mostFiltered = 2000

// onlyAbout leaves to the kernel what machines say to all others by ARP, but for what is
// about these addresses: whose they are, or, from a sender that has none, who wants one
// (see readARP). What is said to this machine alone comes through.
func onlyAbout(fd int, addresses []netip.Addr) error {
	const sender, target = etherHeader + 14, etherHeader + 24
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 1, SkipTrue: 1}, // to a group, or to all
		bpf.RetConstant{Val: 0xffff},
		bpf.LoadAbsolute{Off: sender, Size: 4},
		bpf.JumpIf{Val: 0, SkipFalse: 1},
		bpf.LoadAbsolute{Off: target, Size: 4},
	}
	for _, a := range addresses {
		four := a.As4()
		program = append(program, bpf.JumpIf{Val: binary.BigEndian.Uint32(four[:]), SkipFalse: 1}, bpf.RetConstant{Val: 0xffff})
	}
	return filtered(fd, append(program, bpf.RetConstant{Val: 0}))
}

func filtered(fd int, instructions []bpf.Instruction) error {
	program, err := bpf.Assemble(instructions)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}) //nolint:gosec // 4096 at most
}

// narrow has ARP's socket hear of these addresses, and of those that are asked for or
// guarded; with mu held. A storm of frames about others, which comes faster than it is
// read, would fill the socket, and the kernel drops then what comes last: an answer.
func (w *Wire) narrow(addresses []netip.Addr) {
	if !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return a.Is4() && !w.passing[a] }) {
		return
	}
	passing := map[netip.Addr]bool{}
	for _, a := range slices.Concat(addresses, w.ledger.guarded) {
		passing[a] = a.Is4()
	}
	for a := range w.ledger.asked {
		passing[a] = a.Is4()
	}
	var all []netip.Addr
	for a, is := range passing {
		if is {
			all = append(all, a)
		}
	}
	w.passing = passing
	_ = w.conns[0].Control(func(fd uintptr) { // Closed: nothing is heard any more.
		// Too many for this kernel (net.core.optmem_max): all come through.
		if len(all) > mostFiltered || onlyAbout(int(fd), all) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) // There is none.
		}
	})
}
