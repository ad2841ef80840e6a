package heartbeat

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// frameVersion is the second byte of each packet.
const frameVersion = 1

const frameMagic = 'm'

// A kind is what a frame carries.
type kind byte

const (
	// kindHello keeps links and freshness known: a helloBody.
	kindHello kind = iota
	// kindGossip is a packet of memberlist, encrypted by memberlist once more.
	kindGossip
	// kindHeartbeat is a director.Message.
	kindHeartbeat
)

// The frame, numbers big-endian:
//
//	magic, version, kind, link       1 byte each
//	key id                           4
//	session of the sender           16   random, new with each process
//	sequence                         8
//	name of the sender               1 + n
//	sealed by AES-256-GCM, all of the above authenticated:
//	   incarnation, sent, mine, echo 8 each
//	   payload
//	   tag                          16
//
// The key of the seal is made for the session, so that the sequence number and
// the link are a nonce that never comes twice.
const (
	headerSize  = 4 + 4 + 16 + 8 + 1
	innerSize   = 4 * 8
	sealTag     = 16
	maxName     = 64
	maxFrame    = 60 << 10
	sealedExtra = headerSize + innerSize + sealTag
)

type session [16]byte

// A frame is what one packet says.
type frame struct {
	kind        kind
	link        uint8
	key         keyID
	session     session
	seq         uint64
	from        string
	incarnation uint64
	// sent is the sender's clock.
	sent time.Duration
	// mine is what the sender wants to see echoed, echo what it saw of us.
	mine, echo uint64
	payload    []byte
}

// The reasons to refuse a packet before anything in it is believed.
var (
	errNoFrame    = errors.New("no packet of monitord")
	errUnknownKey = errors.New("sealed with a key that is not among the key files here")
	errForged     = errors.New("the seal is broken")
)

// newSealer makes the cipher of one session.
func newSealer(key Key, s session) cipher.AEAD {
	block, err := aes.NewCipher(key.derive("frame", s[:], keySize))
	if err != nil {
		panic(err) // the size is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return aead
}

// header writes what is readable by all.
func (f frame) header() []byte {
	b := append(make([]byte, 0, sealedExtra+len(f.from)+len(f.payload)), frameMagic, frameVersion, byte(f.kind), f.link)
	b = append(b, f.key[:]...)
	b = append(b, f.session[:]...)
	b = binary.BigEndian.AppendUint64(b, f.seq)
	b = append(b, byte(len(f.from)))
	return append(b, f.from...)
}

func (f frame) nonce() []byte {
	var n [12]byte
	n[0] = f.link
	binary.BigEndian.PutUint64(n[4:], f.seq)
	return n[:]
}

// seal makes the packet.
func (f frame) seal(aead cipher.AEAD) []byte {
	head := f.header()
	inner := make([]byte, 0, innerSize+len(f.payload))
	inner = binary.BigEndian.AppendUint64(inner, f.incarnation)
	inner = binary.BigEndian.AppendUint64(inner, uint64(f.sent))
	inner = binary.BigEndian.AppendUint64(inner, f.mine)
	inner = binary.BigEndian.AppendUint64(inner, f.echo)
	inner = append(inner, f.payload...)
	return aead.Seal(head, f.nonce(), inner, head)
}

// parseHeader reads what anybody could have written; the second result is how long it is.
func parseHeader(data []byte) (frame, int, error) {
	if len(data) < sealedExtra || data[0] != frameMagic {
		return frame{}, 0, errNoFrame
	}
	if data[1] != frameVersion {
		return frame{}, 0, fmt.Errorf("packet of version %d, this monitord speaks %d: %w", data[1], frameVersion, ErrVersion)
	}
	length := int(data[headerSize-1])
	if length == 0 || length > maxName || len(data) < sealedExtra+length || data[2] > byte(kindHeartbeat) {
		return frame{}, 0, errNoFrame
	}
	f := frame{
		kind: kind(data[2]), link: data[3], key: keyID(data[4:8]), session: session(data[8:24]),
		seq: binary.BigEndian.Uint64(data[24:32]), from: string(data[headerSize : headerSize+length]),
	}
	return f, headerSize + length, nil
}

// open breaks the seal; the frame is what its header said.
func (f frame) open(aead cipher.AEAD, data []byte, head int) (frame, error) {
	inner, err := aead.Open(nil, f.nonce(), data[head:], data[:head])
	if err != nil {
		return frame{}, errForged
	}
	f.incarnation = binary.BigEndian.Uint64(inner)
	f.sent = time.Duration(binary.BigEndian.Uint64(inner[8:]))
	f.mine = binary.BigEndian.Uint64(inner[16:])
	f.echo = binary.BigEndian.Uint64(inner[24:])
	f.payload = inner[innerSize:]
	return f, nil
}

// A helloBody tells the receiver what was heard of it over this link: the newest
// send time (its own clock, negative: none), and how long ago that came.
type helloBody struct{ echo, held time.Duration }

func (h helloBody) bytes() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(h.echo))
	return binary.BigEndian.AppendUint64(b, uint64(h.held))
}

func parseHello(b []byte) (helloBody, bool) {
	if len(b) < 16 {
		return helloBody{}, false
	}
	h := helloBody{time.Duration(binary.BigEndian.Uint64(b)), time.Duration(binary.BigEndian.Uint64(b[8:]))}
	return h, h.held >= 0
}
