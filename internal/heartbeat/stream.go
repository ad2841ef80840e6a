package heartbeat

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Streams carry memberlist's exchange of states. Each has keys of its own, made of
// random numbers of both sides: what was recorded from one opens no other.
//
//	caller:  magic, version, key id (4), random (16), 1 + name
//	called:  random (16)
//	then both: records of 2 bytes length and what AES-256-GCM made of at most 16 KiB
const (
	streamMagic   = 'M'
	streamVersion = 1
	randomSize    = 16
	maxRecord     = 16 << 10
	maxStreams    = 64
)

// A stream is one connection. Like memberlist's own connections it has one user at a time.
type stream struct {
	net.Conn
	n *network
	// greet is what the called side still has to do before its first byte.
	greet  func(*stream) error
	called bool

	in, out   cipher.AEAD
	inN, outN uint64
	rest      []byte
}

// accept hands streams to memberlist until the link is closed.
func (n *network) accept(p *path) {
	for {
		conn, err := p.streams.Accept()
		if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			n.tell.complain("accept "+p.name, Warn, "heartbeat: %s: %v", p.name, err)
			select {
			case <-time.After(10 * time.Millisecond):
			case <-n.ctx.Done():
				return
			}
			continue
		}
		if !n.expects(p, conn.RemoteAddr()) {
			// It proves nothing, but who is no node can neither fill the log nor all places.
			n.tell.complain("caller "+p.name, Error, "heartbeat: refused a stream from %v: no node has that address on %s", conn.RemoteAddr(), p.name)
			_ = conn.Close()
			continue
		}
		s := &stream{Conn: conn, n: n, called: true, greet: func(s *stream) error { return s.answer(p) }}
		if !n.track(s) {
			_ = conn.Close()
			continue
		}
		select {
		case n.streams <- s:
		case <-n.ctx.Done():
			_ = s.Close()
			return
		}
	}
}

// expects tells whether a node has an address on a link.
func (n *network) expects(path *path, from net.Addr) bool {
	at, ok := from.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := at.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range n.peers {
		if path.reaches(p.node) && p.node.Links[path.id].Addr().WithZone("") == addr {
			return true
		}
	}
	return false
}

// track remembers a stream, for close; false if there are too many, or it is over.
func (n *network) track(s *stream) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.conns) >= maxStreams || n.ctx.Err() != nil {
		return false
	}
	n.conns[s] = true
	return true
}

func (s *stream) Close() error {
	s.n.mu.Lock()
	delete(s.n.conns, s)
	s.n.mu.Unlock()
	return s.Conn.Close()
}

// dial calls a peer: over the links that carry first, from the link's own address.
func (n *network) dial(p *peer, timeout time.Duration) (net.Conn, error) {
	paths := n.callable(p)
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s shares no link with this node", p.node.Name)
	}
	var failed error
	for _, path := range paths {
		s, err := n.dialOver(p, path, timeout/time.Duration(len(paths)))
		if err == nil {
			return s, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", path.name, err))
	}
	return nil, failed
}

func (n *network) callable(p *peer) []*path {
	now := n.now()
	state := map[uint8]LinkState{}
	var paths []*path
	p.mu.Lock()
	for _, path := range n.paths {
		if path.at.IsValid() && path.reaches(p.node) {
			state[path.id] = p.stat(path.id).state(now)
			paths = append(paths, path)
		}
	}
	p.mu.Unlock()
	slices.SortStableFunc(paths, func(a, b *path) int { return int(state[b.id] - state[a.id]) })
	return paths
}

func (n *network) dialOver(p *peer, path *path, timeout time.Duration) (*stream, error) {
	if n.wire != nil && !n.wire(p.node.Name, path.id) {
		return nil, errors.New("nothing comes back")
	}
	deadline := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadline(n.ctx, deadline)
	defer cancel()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(reachable(path.at).Addr(), 0))}
	conn, err := dialer.DialContext(ctx, "tcp", reachable(p.node.Links[path.id]).String())
	if err != nil {
		return nil, err
	}
	s := &stream{Conn: conn, n: n}
	if !n.track(s) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	_ = conn.SetDeadline(deadline)
	if err := s.call(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, conn.SetDeadline(time.Time{})
}

// call is the caller's side of the opening.
func (s *stream) call() error {
	hello := append([]byte{streamMagic, streamVersion}, s.n.key[:]...)
	random := make([]byte, 2*randomSize)
	_, _ = rand.Read(random[:randomSize]) // never fails, says crypto/rand
	hello = append(hello, random[:randomSize]...)
	hello = append(append(hello, byte(len(s.n.self))), s.n.self...)
	if _, err := s.Conn.Write(hello); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.Conn, random[randomSize:]); err != nil {
		return fmt.Errorf("it hung up: its log says why: %w", err)
	}
	key := s.n.keys[s.n.key]
	s.out, s.in = streamCipher(key, "to the called", random), streamCipher(key, "to the caller", random)
	return nil
}

// answer is the called side of it.
func (s *stream) answer(p *path) error {
	head := make([]byte, 2+4+randomSize+1)
	if _, err := io.ReadFull(s.Conn, head); err != nil {
		return err
	}
	if head[0] != streamMagic || head[1] != streamVersion {
		return fmt.Errorf("stream of %v: version %d, this monitord speaks %d: %w", s.RemoteAddr(), head[1], streamVersion, ErrVersion)
	}
	name := make([]byte, head[len(head)-1])
	if _, err := io.ReadFull(s.Conn, name); err != nil {
		return err
	}
	key, known := s.n.keys[keyID(head[2:6])]
	if !known {
		s.n.counts.unknownKey.Add(1)
		return fmt.Errorf("stream of %q at %v: %w", name, s.RemoteAddr(), errUnknownKey)
	}
	from, _ := netip.ParseAddrPort(s.RemoteAddr().String())
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if why := s.n.misplaced(p, s.n.peers[string(name)], frame{from: string(name), link: p.id}, from); why != "" {
		return fmt.Errorf("stream of %q at %v: %s", name, from, why)
	}
	random := append(make([]byte, 0, 2*randomSize), head[6:6+randomSize]...)
	random = random[:2*randomSize]
	_, _ = rand.Read(random[randomSize:])
	if _, err := s.Conn.Write(random[randomSize:]); err != nil {
		return err
	}
	s.in, s.out = streamCipher(key, "to the called", random), streamCipher(key, "to the caller", random)
	return nil
}

func streamCipher(key Key, direction string, random []byte) cipher.AEAD {
	block, err := aes.NewCipher(key.derive("stream "+direction, random, keySize))
	if err != nil {
		panic(err) // the size is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return aead
}

// open answers the caller, once.
func (s *stream) open() error {
	if s.greet == nil {
		return nil
	}
	greet := s.greet
	s.greet = nil
	if err := greet(s); err != nil {
		host, _, _ := net.SplitHostPort(s.RemoteAddr().String())
		if !errors.Is(err, io.EOF) {
			s.n.tell.accuse("stream "+host, Error, "heartbeat: refused: %v", err)
		}
		return err
	}
	return nil
}

func (s *stream) Read(b []byte) (int, error) {
	if err := s.open(); err != nil {
		return 0, err
	}
	if s.in == nil {
		return 0, net.ErrClosed // the opening was refused
	}
	if len(s.rest) == 0 {
		if err := s.record(); err != nil {
			return 0, err
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// record reads the next one.
func (s *stream) record() error {
	var head [2]byte
	if _, err := io.ReadFull(s.Conn, head[:]); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(head[:]))
	if size <= sealTag || size > maxRecord+sealTag {
		return fmt.Errorf("record of %d bytes: %w", size, errForged)
	}
	sealed := make([]byte, size)
	if _, err := io.ReadFull(s.Conn, sealed); err != nil {
		return err
	}
	plain, err := s.in.Open(sealed[:0], recordNonce(s.inN), sealed, nil)
	if err != nil {
		s.n.counts.forged.Add(1)
		return fmt.Errorf("stream of %v: %w", s.RemoteAddr(), errForged)
	}
	s.inN++
	s.rest = plain
	if s.called && s.inN == 1 {
		// memberlist gives a caller one second for all it has to say. That is for those who
		// prove nothing: a document may take longer.
		return s.SetDeadline(time.Now().Add(streamTime))
	}
	return nil
}

func (s *stream) Write(b []byte) (int, error) {
	if s.out == nil {
		return 0, net.ErrClosed // nobody was answered
	}
	done := 0
	for part := range slices.Chunk(b, maxRecord) {
		sealed := binary.BigEndian.AppendUint16(nil, uint16(len(part)+sealTag))
		sealed = s.out.Seal(sealed, recordNonce(s.outN), part, nil)
		s.outN++
		if _, err := s.Conn.Write(sealed); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

func recordNonce(n uint64) []byte {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], n)
	return nonce[:]
}
