package netif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// A Wire asks and announces on the wire of one device, by ARP and by IPv6's
// neighbour discovery, and hears who claims an address. Its methods are safe for
// concurrent use and wait for nobody.
type Wire struct {
	device  string
	index   int
	sockets []*os.File
	conns   []rawConn
	mailbox *mailbox
	heard   chan Sighting
	flushed chan struct{} // takes from deliver what it holds
	done    chan struct{} // is closed by Close
	running sync.WaitGroup

	mu      sync.Mutex // protects what follows, and the order of what is heard
	ledger  *ledger
	passing map[netip.Addr]bool // of which ARP's socket hears at least, see narrow
	sources []Address           // of the device
	router  bool                // IPv6 packets are forwarded
	closed  bool
}

type rawConn interface {
	Control(func(fd uintptr)) error
	Read(func(fd uintptr) bool) error
}

// OpenWire opens the sockets. [ErrPermission] without CAP_NET_RAW, [ErrMissing]
// without the device, [errors.ErrUnsupported] if it is not of the Ethernet kind.
// When the device is removed the wire is dead, also if one of that name comes back.
func OpenWire(ctx context.Context, device string) (*Wire, error) {
	w, err := newWire(ctx, device)
	if err != nil {
		return nil, err
	}
	w.run()
	return w, nil
}

// newWire opens the sockets. What they hear waits in them until run.
func newWire(ctx context.Context, device string) (*Wire, error) {
	l, err := LinkNamed(ctx, device)
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	if len(l.MAC) != 6 || l.Loop || l.NoARP {
		return nil, fmt.Errorf("wire of %s: a device without ARP: %w", device, errors.ErrUnsupported)
	}
	w := &Wire{
		device: device, index: l.Index, mailbox: newMailbox(), heard: make(chan Sighting), flushed: make(chan struct{}), done: make(chan struct{}),
		ledger: newLedger(),
	}
	if err := w.Refresh(ctx); err != nil {
		return nil, err
	}
	for _, protocol := range []uint16{unix.ETH_P_ARP, unix.ETH_P_IPV6} {
		if err := w.open(protocol); err != nil {
			return nil, errors.Join(fmt.Errorf("wire of %s: packet socket (needs CAP_NET_RAW): %w", device, named(err)), w.closeSockets())
		}
	}
	return w, nil
}

// run begins to read, and to hand over.
func (w *Wire) run() {
	for i := range w.conns {
		w.running.Go(func() { w.read(w.conns[i]) })
	}
	w.running.Go(w.deliver)
}

// open makes a socket for one protocol: none for all of them, which would be woken
// by, and copy, every packet that the director forwards.
func (w *Wire) open(protocol uint16) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "wire of "+w.device)
	// Questions about hundreds of addresses, and the answers, come in one go. Without
	// these there is the usual room, and the own frames come back to be dropped.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room)
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	conn, err := file.SyscallConn()
	if err == nil && protocol == unix.ETH_P_IPV6 {
		err = onlyAdvertisements(fd)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: w.index})
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	w.sockets, w.conns = append(w.sockets, file), append(w.conns, conn)
	return nil
}

func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// Device is the device's name.
func (w *Wire) Device() string { return w.device }

// Refresh reads the machine's addresses and MACs anew: the questions are asked from
// one of them, and none of them is foreign. To be called after they changed.
func (w *Wire) Refresh(ctx context.Context) error {
	all, err := Addresses(ctx)
	if err != nil {
		return fmt.Errorf("wire of %s: %w", w.device, err)
	}
	links, err := Links(ctx)
	if err != nil {
		return fmt.Errorf("wire of %s: %w", w.device, err)
	}
	// Without IPv6 in the kernel there is no such key.
	forwarding, err := InterfaceKey("net.ipv6.conf", w.device, "forwarding").Get()
	if err != nil && !errors.Is(err, ErrMissing) {
		return fmt.Errorf("wire of %s: %w", w.device, err)
	}
	number, _ := strconv.Atoi(forwarding)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.router = number > 0
	w.sources = slices.DeleteFunc(all, func(a Address) bool { return a.Index != w.index || a.Tentative || a.Duplicate })
	w.ledger.own = nil
	for _, l := range links {
		if len(l.MAC) == 6 {
			w.ledger.own = append(w.ledger.own, l.MAC)
		}
	}
	return nil
}

// Guard says which addresses nobody else should claim, in place of those before.
func (w *Wire) Guard(addresses ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledger.guarded = slices.Clone(addresses)
	w.passing = nil
	w.narrow(addresses)
}

// Heard brings what was heard. What nobody takes waits, and the same thing once; answers
// and proofs come before all else. Of more than 4096 of these, and of more than 2048
// others, the oldest are dropped, and of one that more than eight machines say the rest. It
// is closed by Close.
func (w *Wire) Heard() <-chan Sighting { return w.heard }

// Ask sends one question, and returns when it is sent. An error says that not all of it
// went out (the device is down, or gone), so that there is nothing to wait for. What waits
// at the sockets is heard first: it is no answer to this question.
func (w *Wire) Ask(q Question) error {
	mac, err := w.mac()
	if err != nil {
		return err
	}
	w.mu.Lock()
	for _, conn := range w.conns {
		_ = conn.Control(func(fd uintptr) { w.some(int(fd), true) }) // Closed: nothing waits.
	}
	w.ledger.ask(q, Boottime())
	w.narrow(q.Addresses)
	sources := w.askers(q)
	frames := make([][]byte, 0, len(q.Addresses)+len(q.Gateways))
	for _, address := range q.Addresses {
		frames = append(frames, probe(mac, sources, address))
	}
	for _, gateway := range q.Gateways {
		frames = append(frames, ask(mac, sources, gateway))
	}
	w.mu.Unlock()
	for i, frame := range frames {
		if err := w.send(frame); err != nil {
			return fmt.Errorf("ask for %v: %w", append(q.Addresses, q.Gateways...)[i], err)
		}
	}
	return nil
}

// askers are the device's addresses to ask from: none that is asked for or guarded,
// since the answer to a question from there would make the neighbour believe that it is
// here. With mu held.
func (w *Wire) askers(q Question) []Address {
	not := map[netip.Addr]bool{}
	for _, all := range [][]netip.Addr{q.Addresses, w.ledger.guarded} {
		for _, a := range all {
			not[a] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(w.sources), func(a Address) bool { return not[a.Prefix.Addr()] })
}

// probe asks for an address that may be ours soon, without a word about who asks:
// RFC 5227 section 1.1. An IPv6 question has a sender if possible, since the answer
// to it is heard by him alone.
func probe(mac net.HardwareAddr, sources []Address, address netip.Addr) []byte {
	if address.Is6() {
		return solicit(mac, source(sources, address), address)
	}
	return arpFrame{to: broadcast(), op: arpRequest, senderMAC: mac, target: address}.bytes()
}

// ask asks for a neighbour in the ordinary way.
func ask(mac net.HardwareAddr, sources []Address, neighbour netip.Addr) []byte {
	if neighbour.Is6() {
		return solicit(mac, source(sources, neighbour), neighbour)
	}
	return arpFrame{to: broadcast(), op: arpRequest, senderMAC: mac, sender: source(sources, neighbour), target: neighbour}.bytes()
}

// source is an address to ask from: one of the same network; for IPv6 a link-local one
// is as good.
func source(sources []Address, neighbour netip.Addr) (best netip.Addr) {
	for _, a := range sources {
		ip := a.Prefix.Addr()
		if ip == neighbour || ip.Is4() != neighbour.Is4() {
			continue
		}
		if ip.Is6() && ip.IsLinkLocalUnicast() || a.Prefix.Contains(neighbour) && !a.Prefix.IsSingleIP() {
			return ip
		}
		if ip.Is6() && a.Preferred > 0 {
			best = ip
		}
	}
	return best
}

// Announce tells all neighbours, once, that this device has an address: gratuitous
// ARP as a request and as a reply, an unsolicited neighbour advertisement for IPv6.
func (w *Wire) Announce(address netip.Addr) error {
	mac, err := w.mac()
	if err != nil {
		return err
	}
	w.mu.Lock()
	router := w.router
	w.mu.Unlock()
	for _, frame := range announcement(mac, address, router) {
		if err := w.send(frame); err != nil {
			return fmt.Errorf("announce %s: %w", address, err)
		}
	}
	return nil
}

// mac is the device's address now: it changes when a bond changes its port.
func (w *Wire) mac() (mac net.HardwareAddr, err error) {
	control := w.conns[0].Control(func(fd uintptr) {
		var name unix.Sockaddr
		name, err = unix.Getsockname(int(fd))
		if a, ok := name.(*unix.SockaddrLinklayer); ok && a.Halen == 6 {
			mac = net.HardwareAddr(append([]byte(nil), a.Addr[:6]...))
		}
	})
	switch err := errors.Join(control, err); {
	case err != nil:
		return nil, fmt.Errorf("wire of %s: %w", w.device, err)
	case mac == nil:
		return nil, fmt.Errorf("wire of %s: the device is gone: %w", w.device, ErrMissing)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.ledger.own, func(o net.HardwareAddr) bool { return slices.Equal(o, mac) }) {
		w.ledger.own = append(w.ledger.own, mac)
	}
	return mac, nil
}

// send does not wait for room in a queue: a frame that is late is worth nothing.
func (w *Wire) send(frame []byte) error {
	conn, protocol := w.conns[0], uint16(unix.ETH_P_ARP)
	if binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IPV6 {
		conn, protocol = w.conns[1], unix.ETH_P_IPV6
	}
	to := &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: w.index, Halen: 6}
	copy(to.Addr[:], frame[:6])
	var err error
	control := conn.Control(func(fd uintptr) {
		// That the device was down is said once by whatever comes next, now or later.
		if err = unix.Sendto(int(fd), frame, unix.MSG_DONTWAIT, to); errors.Is(err, unix.ENETDOWN) {
			err = unix.Sendto(int(fd), frame, unix.MSG_DONTWAIT, to)
		}
	})
	if errors.Is(err, unix.ENXIO) {
		err = fmt.Errorf("%w (%w)", ErrMissing, err)
	}
	if err := errors.Join(control, err); err != nil {
		return fmt.Errorf("wire of %s: %w", w.device, err)
	}
	return nil
}

// read hands over what is heard until the socket is closed. A device that is down
// says so once and goes on when it is up.
func (w *Wire) read(conn rawConn) {
	for {
		err := conn.Read(func(fd uintptr) bool { return w.receive(int(fd), true) })
		if err != nil {
			return
		}
	}
}

// atOnce is how many frames are read before those who ask have their turn: in a flood
// there is always one more.
const atOnce = 64

// room is what a socket may hold, in bytes; the kernel doubles it.
const room = 1 << 20

// waiting is more frames than a socket has room for: the least counts for half a KiB.
const waiting = 2 * room / 512

// receive takes in what waits at a socket, [atOnce] at most, and tells whether there
// was anything.
func (w *Wire) receive(fd int, hear bool) (some bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.some(fd, hear)
}

// some is receive with mu held.
func (w *Wire) some(fd int, hear bool) (some bool) {
	var frame [2048]byte
	for range atOnce {
		n, from, err := unix.Recvfrom(fd, frame[:], unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return some
		}
		some = true
		if err != nil {
			return some // ENETDOWN, once: the device went down.
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !hear || !ok || link.Pkttype > unix.PACKET_MULTICAST {
			continue // Not for this machine (of another VLAN, or heard by promiscuity), or from it.
		}
		if c, ok := readFrame(frame[:n]); ok {
			for _, s := range w.ledger.hear(c, Boottime()) {
				w.mailbox.put(s)
			}
		}
	}
	return some
}

// deliver hands over what waits, until Close.
func (w *Wire) deliver() {
	defer close(w.heard)
	for {
		s, ok := w.mailbox.take()
		wake, out := w.mailbox.wake, w.heard
		if ok {
			wake = nil
		} else {
			out = nil
		}
		select {
		case out <- s:
		case <-wake:
		case <-w.flushed:
		case <-w.done:
			return
		}
	}
}

// Flush drops what waits at the sockets and in Heard: after a pause of the process
// it says nothing about now.
func (w *Wire) Flush() {
	for _, conn := range w.conns {
		_ = conn.Control(func(fd uintptr) { // Closed: nothing waits.
			for range waiting / atOnce {
				if !w.receive(int(fd), false) {
					return
				}
			}
		})
	}
	w.mailbox.empty()
	select {
	case w.flushed <- struct{}{}:
	case <-w.done:
	}
}

// Close ends the sockets and closes Heard. It may be called again.
func (w *Wire) Close() error {
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	w.mu.Unlock()
	if !first {
		return nil
	}
	close(w.done)
	err := w.closeSockets()
	w.running.Wait()
	return err
}

func (w *Wire) closeSockets() error {
	var err error
	for _, s := range w.sockets {
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		return fmt.Errorf("wire of %s: close: %w", w.device, err)
	}
	return nil
}
