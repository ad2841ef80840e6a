package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// atATime is how many requests go to the kernel in one call: it works through them
// without anybody being waited for, in well below a millisecond, and what it has to say
// of them fits into the socket's buffer.
const atATime = 64

// A batch is a socket on which many requests are made at once. Hundreds of addresses
// that are changed one after the other take longer than a lease can wait.
type batch struct {
	ctx context.Context
	fd  int
}

// batched opens a socket in the calling thread's network namespace and lets do use it.
func batched(ctx context.Context, do func(b *batch) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("rtnetlink socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // It held nothing.
	timeout := longest
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Millisecond, min(timeout, time.Until(deadline)))
	}
	patience := unix.NsecToTimeval(timeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1), // an error without the request
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		return fmt.Errorf("rtnetlink socket: %w", err)
	}
	return do(&batch{ctx, fd})
}

// make makes requests in their order and returns what became of each; those that goOn
// tells to leave off, and those after a failure of the socket itself, have its error.
func (b *batch) make(requests []*nl.NetlinkRequest, goOn func() error) []error {
	results := make([]error, len(requests))
	for from := 0; from < len(requests); from += atATime {
		to := min(from+atATime, len(requests))
		err := goOn()
		if err == nil {
			err = b.some(requests[from:to], results[from:to])
		}
		if err != nil {
			for i := from; i < len(results); i++ {
				results[i] = errors.Join(results[i], err)
			}
			break
		}
	}
	return results
}

// some makes a few requests. The kernel says what failed, and, since it is asked to,
// that the last is done: so all are.
func (b *batch) some(requests []*nl.NetlinkRequest, results []error) error {
	var raw []byte
	for i, r := range requests {
		r.Seq = uint32(i) + 1
		if r.Flags &^= unix.NLM_F_ACK; i == len(requests)-1 {
			r.Flags |= unix.NLM_F_ACK
		}
		raw = append(raw, r.Serialize()...)
		for len(raw)%unix.NLMSG_ALIGNTO != 0 {
			raw = append(raw, 0)
		}
	}
	if err := again(func() error { return unix.Sendto(b.fd, raw, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) }); err != nil {
		return os.NewSyscallError("rtnetlink", err)
	}
	for buffer := make([]byte, 16<<10); ; {
		var n int
		var from unix.Sockaddr
		if err := again(func() (err error) { n, from, err = unix.Recvfrom(b.fd, buffer, 0); return err }); err != nil {
			if errors.Is(err, unix.EAGAIN) && b.ctx.Err() != nil {
				return b.ctx.Err() // The socket's timeout is the context's.
			}
			return os.NewSyscallError("rtnetlink", err)
		}
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != nl.PidKernel {
			continue
		}
		if done, err := read(buffer[:n], results); done || err != nil {
			return err
		}
	}
}

// read takes in what the kernel says, and tells whether it was about the last request.
func read(raw []byte, results []error) (done bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(raw)
	if err != nil {
		return false, err
	}
	for _, m := range messages {
		i := int(m.Header.Seq) - 1
		if m.Header.Type != unix.NLMSG_ERROR || len(m.Data) < 4 || i < 0 || i >= len(results) {
			continue
		}
		if errno := -int32(nl.NativeEndian().Uint32(m.Data)); errno != 0 {
			results[i] = named(unix.Errno(errno)) //nolint:gosec // an errno is small
		}
		done = done || i == len(results)-1
	}
	return done, nil
}

func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// request is one about an address of a device. The network is that of the address, or of
// the other end if there is one.
func request(kind, flags int, index int, address netip.Addr, network netip.Prefix) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags)
	message := nl.NewIfAddrmsg(familyOf(address))
	message.Index, message.Prefixlen = uint32(index), uint8(network.Bits()) //nolint:gosec // both are small
	r.AddData(message)
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, address.AsSlice()))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, network.Addr().AsSlice()))
	return r
}

// hold is the request for a lease.
func (l Lease) hold(index int) *nl.NetlinkRequest {
	r := request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, index, l.Prefix.Addr(), l.Prefix)
	flags := uint32(unix.IFA_F_NOPREFIXROUTE)
	info := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Valid: uint32(l.Lifetime / time.Second)}}
	if l.Prefix.Addr().Is4() {
		info.Prefered = info.Valid //nolint:misspell // the library spells it so
		if b, ok := broadcastOf(l.Prefix); ok {
			r.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, b.AsSlice()))
		}
		if l.Label != "" {
			r.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(l.Label)))
		}
	} else {
		flags |= unix.IFA_F_NODAD
	}
	r.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
	r.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, info.Serialize()))
	return r
}

// broadcastOf is a network's, if it has one (RFC 3021).
func broadcastOf(p netip.Prefix) (b netip.Addr, ok bool) {
	if p.Bits() > 30 {
		return b, false
	}
	a := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a), true
}

// indices are the devices' numbers; those that are missing have their error.
func indices(ctx context.Context, names func(yield func(string) bool)) (map[string]int, map[string]error, error) {
	found, missing := map[string]int{}, map[string]error{}
	err := with(ctx, func(h *netlink.Handle) error {
		for name := range names {
			if found[name] != 0 || missing[name] != nil || name == "" {
				continue
			}
			link, err := h.LinkByName(name)
			switch err = named(err); {
			case err == nil:
				found[name] = link.Attrs().Index
			case errors.Is(err, ErrMissing):
				missing[name] = err
			default:
				return fmt.Errorf("device %s: %w", name, err)
			}
		}
		return nil
	})
	return found, missing, err
}

// HoldAll does for several addresses what [Hold] does for one, by few calls to the
// kernel. Those that fail do not keep the others from being held; but once it is too
// late all of them are removed.
func HoldAll(ctx context.Context, all []Lease, notAfter time.Duration) (Held, error) {
	for _, l := range all {
		if err := l.check(); err != nil {
			return Held{}, err
		}
	}
	h := Held{Began: Boottime()}
	late := func() error {
		if over := Boottime() - notAfter; notAfter != 0 && over > 0 {
			return fmt.Errorf("%s %w", over, ErrLate)
		}
		return nil
	}
	if err := late(); err != nil {
		h.Ended = h.Began
		return h, fmt.Errorf("hold %s: %w: not begun", listed(all), err)
	}
	err := holdAll(ctx, all, late)
	h.Ended = Boottime()
	if over := late(); over != nil {
		// Also after an error: an answer that was lost says nothing of what was done.
		removed := ReleaseAll(context.WithoutCancel(ctx), all)
		return h, errors.Join(fmt.Errorf("hold %s: %w: removed again", listed(all), over), err, removed)
	}
	return h, err
}

func holdAll(ctx context.Context, all []Lease, goOn func() error) error {
	found, missing, err := indices(ctx, devicesOf(all))
	if err != nil {
		return fmt.Errorf("hold %s: %w", listed(all), err)
	}
	var failed []error
	var requests []*nl.NetlinkRequest
	var asked []Lease
	for _, l := range all {
		if err := missing[l.Device]; err != nil {
			failed = append(failed, fmt.Errorf("address %s on %s: %w", l.Prefix, l.Device, err))
			continue
		}
		requests, asked = append(requests, l.hold(found[l.Device])), append(asked, l)
	}
	err = batched(ctx, func(b *batch) error {
		for i, err := range b.make(requests, func() error { return errors.Join(ctx.Err(), goOn()) }) {
			if err != nil {
				failed = append(failed, fmt.Errorf("address %s on %s: %w", asked[i].Prefix, asked[i].Device, err))
			}
		}
		return nil
	})
	return errors.Join(few(failed), err)
}

// ReleaseAll does for several addresses what [Release] does for one. An address that
// another device has on a lease is removed there too: that is a device which was renamed,
// or another one was configured. One that fails does not keep the others from being
// removed.
func ReleaseAll(ctx context.Context, all []Lease) error {
	found, _, err := indices(ctx, devicesOf(all))
	if err != nil {
		return fmt.Errorf("remove %s: %w", listed(all), err)
	}
	// The usual case first: nothing has to be found out for it.
	var usual []place
	wanted := map[netip.Addr]string{}
	for _, l := range all {
		wanted[l.Prefix.Addr().Unmap()] = l.Device
		if index := found[l.Device]; index != 0 {
			usual = append(usual, place{index, l.Device, l.Prefix.Addr(), l.Prefix})
		}
	}
	failed := remove(ctx, usual)
	more, err := left(ctx, wanted)
	if err != nil || len(more) == 0 {
		return errors.Join(failed, err)
	}
	failed = errors.Join(failed, remove(ctx, more))
	// The kernel says alike of what is gone and of what it does not find as it was described.
	more, err = left(ctx, wanted)
	var there []error
	for _, p := range more {
		there = append(there, fmt.Errorf("remove address %s from %s: it is still there", p.address, p.device))
	}
	return errors.Join(failed, err, few(there))
}

// A place is where an address is, and on which network, see request.
type place struct {
	index   int
	device  string
	address netip.Addr
	network netip.Prefix
}

// left is where addresses are that should be gone from a device each, and from any other
// that has them on a lease: with a network of whatever length, or with another end.
func left(ctx context.Context, wanted map[netip.Addr]string) ([]place, error) {
	here, err := Addresses(ctx)
	if err != nil {
		return nil, fmt.Errorf("remove addresses: %w", err)
	}
	var all []place
	for _, a := range here {
		device, ours := wanted[a.Prefix.Addr()]
		if !ours || a.Device != device && a.Valid == Forever {
			continue
		}
		network := a.Prefix
		if a.Peer.IsValid() {
			network = a.Peer
		}
		all = append(all, place{a.Index, a.Device, a.Prefix.Addr(), network})
	}
	return all, nil
}

// remove removes what may be there.
func remove(ctx context.Context, all []place) error {
	if len(all) == 0 {
		return nil
	}
	requests := make([]*nl.NetlinkRequest, len(all))
	for i, p := range all {
		requests[i] = request(unix.RTM_DELADDR, 0, p.index, p.address, p.network)
	}
	var failed []error
	err := batched(ctx, func(b *batch) error {
		for i, err := range b.make(requests, ctx.Err) {
			if err != nil && !errors.Is(err, ErrMissing) {
				failed = append(failed, fmt.Errorf("remove address %s from %s: %w", all[i].address, all[i].device, err))
			}
		}
		return nil
	})
	return errors.Join(few(failed), err)
}

// FindAll does for several addresses what [Find] does for one, with one look at the
// kernel for all of them: what came or went meanwhile may be missing, or not.
func FindAll(ctx context.Context, all []Lease) ([]Found, error) {
	here, err := Addresses(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", listed(all), err)
	}
	known, err := lifetimes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", listed(all), err)
	}
	on := map[netip.Addr][]Address{}
	for _, a := range here {
		on[a.Prefix.Addr()] = append(on[a.Prefix.Addr()], a)
	}
	found := make([]Found, len(all))
	for i, l := range all {
		found[i] = l.among(on[l.Prefix.Addr().Unmap()], known)
	}
	return found, nil
}

// among judges what there is of an address: it may be there twice, on networks of
// different lengths, and be gone only when both are.
func (l Lease) among(there []Address, known func(Address) (time.Duration, bool)) Found {
	stray, best := false, Found{}
	for _, a := range there {
		if a.Device != l.Device {
			stray = stray || a.Valid != Forever
			continue
		}
		f := Found{Held: true, Label: a.Label, Bits: a.Prefix.Bits(), Permanent: a.Valid == Forever, Unusable: a.Tentative || a.Duplicate}
		if f.Permanent {
			return f
		}
		// It may have gone in between.
		if left, still := known(a); still && (!best.Held || left < best.Left) {
			best, best.Left = f, left
		}
	}
	if best.Held {
		return best
	}
	if stray {
		return Found{Held: true, Unusable: true}
	}
	return Found{}
}
