package icmptest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An Answer is what a host of a Network does about a ping.
type Answer int

// The answers.
const (
	Reply Answer = iota
	Silence
	Refuse // the router says "host unreachable"
	Twice
	FromAnother // the reply comes from another host's address
	Forged      // a reply with another payload comes first, then the right one
)

// The hosts of a network are all addresses of these two; the first of each is
// this machine's own, and the router is another name for it.
func prefixes() (v4, v6 netip.Prefix) {
	return netip.MustParsePrefix("10.77.0.1/16"), netip.MustParsePrefix("fd77::1/64")
}

// A Network has hosts at all addresses of 10.77.0.0/16 and fd77::/64 but the
// first. They are made up by the test: behind a TUN device, this process reads
// what the kernel sends to them and answers for them.
type Network struct {
	dev    *os.File
	answer func(to netip.Addr, n int) Answer
	mu     sync.Mutex // protects pings
	// pings counts the echo requests to each host.
	pings map[netip.Addr]int
}

// New makes the network in the namespace of an [Isolated] test. answer is called
// for the nth ping (from 1) to each host, by one goroutine at a time.
func New(t testing.TB, answer func(to netip.Addr, n int) Answer) *Network {
	t.Helper()
	if os.Getenv(isolated) == "" {
		t.Fatal("a network outside of a namespace of the test's own")
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		missing(t, "no network to test in: /dev/net/tun: %v", err)
	}
	if err := errors.Join(attach(fd, "test0"), address("test0"), linkUp("test0"), address6("test0"), awaitLocal6()); err != nil {
		t.Fatalf("network to test in: %v", err)
	}
	n := &Network{dev: os.NewFile(uintptr(fd), "tun"), answer: answer, pings: map[netip.Addr]int{}}
	var running sync.WaitGroup
	running.Go(n.run)
	t.Cleanup(func() {
		if err := n.dev.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	return n
}

// awaitLocal6 waits until a packet to our own IPv6 address arrives: the kernel makes
// its route a moment after the address (addrconf's work queue), and answers that
// come before are lost.
func awaitLocal6() error {
	_, v6 := prefixes()
	own, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(v6.Addr(), 0)))
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	for range 100 {
		_, _ = own.WriteTo([]byte{1}, own.LocalAddr()) // without a route it fails, and is tried again
		if err := own.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		if _, _, err = own.ReadFrom(make([]byte, 1)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("packets to our own address do not arrive: %w", err)
}

// Pings is how many pings a host has got.
func (n *Network) Pings(to netip.Addr) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pings[to]
}

func attach(fd int, name string) error {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
}

func address(name string) error {
	v4, _ := prefixes()
	mask := net.CIDRMask(v4.Bits(), 32)
	return errors.Join(
		onInterface(name, func(fd int, r *unix.Ifreq) error {
			return errors.Join(r.SetInet4Addr(v4.Addr().AsSlice()), unix.IoctlIfreq(fd, unix.SIOCSIFADDR, r))
		}),
		onInterface(name, func(fd int, r *unix.Ifreq) error {
			return errors.Join(r.SetInet4Addr(mask), unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, r))
		}),
		// A queue that holds a whole group's pings.
		onInterface(name, func(fd int, r *unix.Ifreq) error {
			r.SetUint32(20000)
			return unix.IoctlIfreq(fd, unix.SIOCSIFTXQLEN, r)
		}),
	)
}

// address6 gives the interface its IPv6 address by rtnetlink(7): the only way to
// ask for none of the detection of duplicates (IFA_F_NODAD), during which, for
// as long as the kernel is busy, it would drop the replies.
func address6(name string) error {
	dev, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	_, v6 := prefixes()
	order := binary.NativeEndian
	// struct ifaddrmsg, and one attribute: the address.
	body := []byte{unix.AF_INET6, byte(v6.Bits()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE}
	body = order.AppendUint32(body, uint32(dev.Index))
	body = order.AppendUint16(body, unix.SizeofRtAttr+16)
	body = order.AppendUint16(body, unix.IFA_ADDRESS)
	body = append(body, v6.Addr().AsSlice()...)
	message := order.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = order.AppendUint16(message, unix.RTM_NEWADDR)
	message = order.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	message = append(message, make([]byte, 8)...) // No sequence number, from the kernel's peer.
	if err := ask(append(message, body...)); err != nil {
		return fmt.Errorf("IPv6 address: %w", err)
	}
	return nil
}

// ask sends one rtnetlink message and returns the error in the acknowledgement.
func ask(message []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	reply := make([]byte, 4096)
	n := 0
	if err = unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err == nil {
		n, _, err = unix.Recvfrom(fd, reply, 0)
	}
	if err == nil && n < unix.SizeofNlMsghdr+4 {
		err = fmt.Errorf("an answer of %d bytes", n)
	}
	if err == nil {
		// struct nlmsgerr begins with the negative error number.
		if code := int32(binary.NativeEndian.Uint32(reply[unix.SizeofNlMsghdr:])); code != 0 {
			err = unix.Errno(-code)
		}
	}
	return errors.Join(err, unix.Close(fd))
}

// run answers until the device is closed.
func (n *Network) run() {
	packet := make([]byte, 65536)
	for {
		length, err := n.dev.Read(packet)
		if err != nil {
			return
		}
		for _, reply := range n.handle(packet[:length]) {
			if _, err := n.dev.Write(reply); err != nil {
				return
			}
		}
	}
}

func (n *Network) handle(packet []byte) [][]byte {
	r, ok := parse(packet)
	if !ok {
		return nil
	}
	n.mu.Lock()
	n.pings[r.to]++
	count := n.pings[r.to]
	n.mu.Unlock()
	switch n.answer(r.to, count) {
	case Reply:
		return [][]byte{r.reply(r.to, 0)}
	case Twice:
		return [][]byte{r.reply(r.to, 0), r.reply(r.to, 0)}
	case FromAnother:
		return [][]byte{r.reply(r.to.Next(), 0)}
	case Forged:
		return [][]byte{r.reply(r.to, 0xff), r.reply(r.to, 0)}
	case Refuse:
		return [][]byte{r.refuse(packet)}
	case Silence:
	}
	return nil
}

// A request is an echo request.
type request struct {
	from, to netip.Addr
	message  []byte
}

func parse(packet []byte) (r request, ok bool) {
	switch {
	case len(packet) >= 28 && packet[0] == 0x45 && packet[9] == 1 && packet[20] == 8:
		return request{netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20])), packet[20:]}, true
	case len(packet) >= 48 && packet[0]>>4 == 6 && packet[6] == 58 && packet[40] == 128:
		return request{netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40])), packet[40:]}, true
	}
	return request{}, false
}

// reply answers from an address, with the payload's first byte changed by flip.
func (r request) reply(from netip.Addr, flip byte) []byte {
	message := append([]byte(nil), r.message...)
	message[0] = 0
	if r.to.Is6() {
		message[0] = 129
	}
	message[8] ^= flip
	return wrap(from, r.from, message)
}

func (r request) refuse(packet []byte) []byte {
	v4, v6 := prefixes()
	quoted := packet[:min(len(packet), 28+64)]
	if r.to.Is6() {
		return wrap(v6.Addr(), r.from, append([]byte{1, 3, 0, 0, 0, 0, 0, 0}, quoted...))
	}
	return wrap(v4.Addr().Next(), r.from, append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, quoted...))
}

// wrap puts an ICMP message into an IP packet and does the checksums.
func wrap(from, to netip.Addr, message []byte) []byte {
	message[2], message[3] = 0, 0
	if from.Is4() {
		binary.BigEndian.PutUint16(message[2:], checksum(message))
		header := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0}
		binary.BigEndian.PutUint16(header[2:], uint16(20+len(message)))
		header = append(append(header, from.AsSlice()...), to.AsSlice()...)
		binary.BigEndian.PutUint16(header[10:], checksum(header))
		return append(header, message...)
	}
	header := []byte{0x60, 0, 0, 0, 0, 0, 58, 64}
	binary.BigEndian.PutUint16(header[4:], uint16(len(message)))
	header = append(append(header, from.AsSlice()...), to.AsSlice()...)
	pseudo := append(append([]byte(nil), header[8:40]...), 0, 0, header[4], header[5], 0, 0, 0, 58)
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))
	return append(header, message...)
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, octet := range b {
		sum += uint32(octet) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
