package heartbeat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/monitord/monitord/internal/director"
)

// messageVersion is the first byte of an encoded message. Whoever changes the
// layout, or the numbers of a role or a reason, gives it the next number: the
// others refuse what they would misread.
const messageVersion = 1

// What a message may hold at most. A hundred groups on five nodes need 14 KB; a UDP
// packet carries 64, which is also what is read of one, so that the limit saves no
// memory: it bounds the work of who decodes, and the pieces that a network has to carry
// (a dozen) without losing one. Only who has the key gets as far as that: the seal is
// looked at before the message. A message of 16 KiB becomes 0.4 MiB of claims at most, of
// which one for each node is kept.
const (
	maxMessage = 16 << 10
	maxStrings = 1 << 10
	maxHears   = 64
	maxClaims  = 256
)

// ErrVersion is wrapped by the error for a message, a frame or node data of another
// version of the protocol.
var ErrVersion = errors.New("another version of the protocol")

var errShort = errors.New("it ends too early")

// The flags of a claim.
const (
	claimAble = 1 << iota
	claimReady
	claimStopFailed
	claimForced
	claimBlocked
)

// The flags of a word, of a message, and of a hear.
const (
	wordLeaving = 1 << iota
	wordMaintenance
	wordGateway
	wordOrder
	wordOrderOn
)

const messageAnswer = 1

const (
	hearHeard = 1 << iota
	hearThin
)

// Encode makes bytes of a message: at most fit of them if shortening the free texts
// (Reason.Detail, those of others first) suffices; more if the names and numbers
// alone need it; an error if they are out of all proportion (16 KiB).
//
// Strings stand once, in a table in front; numbers are varints. Five nodes with
// three groups need about 700 bytes.
func Encode(m director.Message, fit int) ([]byte, error) {
	var data []byte
	for _, cut := range []struct{ own, others int }{{256, 128}, {256, 32}, {128, 0}, {32, 0}, {0, 0}} {
		e := encoder{index: map[string]uint64{}}
		e.message(m, cut.own, cut.others)
		data = e.bytes()
		if len(data) <= fit {
			return data, nil
		}
	}
	if len(data) > maxMessage {
		return nil, fmt.Errorf("heartbeat of %d bytes, with all texts left out: the most is %d", len(data), maxMessage)
	}
	return data, nil
}

// Fit is the most that a heartbeat of these nodes about these groups can need, with all
// texts left out, in bytes, and whether that fits into one packet: what does not is cut
// in pieces on its way, and the gateway does not relay it. What no heartbeat has room for
// is an error.
func Fit(nodes, groups []string) (size int, onePacket bool, err error) {
	longest := ""
	for _, n := range nodes {
		if len(n) > len(longest) {
			longest = n
		}
	}
	const much = 1 << 20 // of epochs
	word := director.Word{GatewayAge: time.Hour, Digest: strings.Repeat("x", 64), Order: director.Order{Node: longest, Seq: 1 << 40}}
	for _, g := range groups {
		word.Groups = append(word.Groups, director.Claim{
			Group: g, Epoch: much, Priority: 100, Renewed: time.Second, Leave: longest, LeaveEpoch: much, To: longest, Request: longest,
			Refused: director.Reason{Code: director.ReasonTargetUnable, Node: longest}, Why: director.Reason{Code: director.ReasonTargetUnable, Node: longest},
		})
	}
	m := director.Message{From: longest, Incarnation: 1 << 62, Seq: 1 << 40, Sent: director.Instant(1 << 60), Word: word}
	for i, n := range nodes {
		if i > 0 { // the sender does not hear itself
			m.Hears = append(m.Hears, director.Hear{Node: n, Incarnation: 1 << 62, Seq: 1 << 40, Sent: director.Instant(1 << 60), Silent: time.Hour, Heard: true, Word: word})
		}
	}
	e := encoder{index: map[string]uint64{}}
	e.message(m, 0, 0)
	size = len(e.bytes())
	switch {
	case len(groups) > maxClaims:
		err = fmt.Errorf("%d groups are the most", maxClaims)
	case len(m.Hears) > maxHears:
		err = fmt.Errorf("%d nodes are the most", maxHears+1)
	case size > maxMessage:
		err = fmt.Errorf("it needs %d bytes, %d are the most", size, maxMessage)
	}
	return size, size <= packetSize-sealedExtra-len(longest), err
}

// An encoder collects strings and the body that refers to them.
type encoder struct {
	index   map[string]uint64
	strings []string
	body    []byte
}

func (e *encoder) bytes() []byte {
	data := append(make([]byte, 0, len(e.body)+256), messageVersion)
	data = binary.AppendUvarint(data, uint64(len(e.strings)))
	for _, s := range e.strings {
		data = append(binary.AppendUvarint(data, uint64(len(s))), s...)
	}
	return append(data, e.body...)
}

func (e *encoder) uint(v uint64)         { e.body = binary.AppendUvarint(e.body, v) }
func (e *encoder) int(v int64)           { e.body = binary.AppendVarint(e.body, v) }
func (e *encoder) time(d time.Duration)  { e.int(int64(d)) }
func (e *encoder) flag(on bool, bit int) { e.body[len(e.body)-1] |= flag(on, bit) }

func flag(on bool, bit int) byte {
	if on {
		return byte(bit)
	}
	return 0
}

// string refers to a string of the table; 0 is the empty one.
func (e *encoder) string(s string) {
	if s == "" {
		e.uint(0)
		return
	}
	at, known := e.index[s]
	if !known {
		e.strings = append(e.strings, s)
		at = uint64(len(e.strings))
		e.index[s] = at
	}
	e.uint(at)
}

func (e *encoder) message(m director.Message, own, others int) {
	e.body = append(e.body, flag(m.Answer, messageAnswer))
	e.string(m.From)
	e.uint(m.Incarnation)
	e.uint(m.Seq)
	e.int(int64(m.Sent))
	e.word(m.Word, own)
	e.uint(uint64(len(m.Hears)))
	for _, h := range m.Hears {
		e.body = append(e.body, flag(h.Heard, hearHeard)|flag(h.Thin, hearThin))
		e.string(h.Node)
		e.uint(h.Incarnation)
		e.uint(h.Seq)
		e.int(int64(h.Sent))
		e.time(h.Silent)
		if h.Heard { // the word is empty otherwise
			e.word(h.Word, others)
		}
	}
}

func (e *encoder) word(w director.Word, detail int) {
	e.body = append(e.body, flag(w.Leaving, wordLeaving))
	e.flag(w.Maintenance, wordMaintenance)
	e.flag(w.Gateway, wordGateway)
	e.flag(w.Order != (director.Order{}), wordOrder)
	e.flag(w.Order.On, wordOrderOn)
	e.time(w.GatewayAge)
	e.string(w.Digest)
	if w.Order != (director.Order{}) {
		e.string(w.Order.Node)
		e.uint(w.Order.Seq)
	}
	e.uint(uint64(len(w.Groups)))
	for _, c := range w.Groups {
		e.claim(c, detail)
	}
}

func (e *encoder) claim(c director.Claim, detail int) {
	e.body = append(e.body, flag(c.Able, claimAble))
	e.flag(c.Ready, claimReady)
	e.flag(c.StopFailed, claimStopFailed)
	e.flag(c.Forced, claimForced)
	e.flag(c.Blocked, claimBlocked)
	e.string(c.Group)
	e.uint(uint64(c.Role))
	e.uint(c.Epoch)
	e.int(int64(c.Priority))
	e.int(int64(c.Fitness))
	e.time(c.Renewed)
	e.string(c.Leave)
	e.uint(c.LeaveEpoch)
	e.string(c.To)
	e.string(c.Request)
	e.reason(c.Refused, detail)
	e.reason(c.Why, detail)
}

func (e *encoder) reason(r director.Reason, detail int) {
	e.uint(uint64(r.Code))
	e.string(r.Node)
	e.string(shorten(r.Detail, detail))
}

// shorten cuts between characters.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// Decode is the reverse of [Encode]. It refuses another version ([ErrVersion]),
// what it does not know, what is cut short and what follows the end.
func Decode(data []byte) (director.Message, error) {
	if len(data) == 0 {
		return director.Message{}, fmt.Errorf("heartbeat: %w", errShort)
	}
	if data[0] != messageVersion {
		return director.Message{}, fmt.Errorf("heartbeat of version %d, this monitord speaks %d: %w", data[0], messageVersion, ErrVersion)
	}
	if len(data) > maxMessage {
		return director.Message{}, fmt.Errorf("heartbeat of %d bytes: the most is %d", len(data), maxMessage)
	}
	d := decoder{rest: data[1:]}
	for range d.count(maxStrings, "strings") {
		d.strings = append(d.strings, string(d.take(d.uint())))
	}
	m := d.message()
	if d.err == nil && len(d.rest) > 0 {
		d.fail(fmt.Errorf("%d bytes too many", len(d.rest)))
	}
	if d.err != nil {
		return director.Message{}, fmt.Errorf("heartbeat: %w", d.err)
	}
	return m, nil
}

// A decoder stops at the first error: what it reads after that is zero.
type decoder struct {
	rest    []byte
	strings []string
	err     error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail(errShort)
		return nil
	}
	part := d.rest[:n]
	d.rest = d.rest[n:]
	return part
}

func (d *decoder) byte(known byte) byte {
	part := d.take(1)
	if len(part) == 0 {
		return 0
	}
	if part[0]&^known != 0 {
		d.fail(fmt.Errorf("unknown flags %#x", part[0]&^known))
		return 0
	}
	return part[0]
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) time() time.Duration { return time.Duration(d.int()) }

// count reads how many of something follow; each takes a byte at least.
func (d *decoder) count(most uint64, what string) uint64 {
	n := d.uint()
	if n > most || n > uint64(len(d.rest)) {
		d.fail(fmt.Errorf("%d %s", n, what))
		return 0
	}
	return n
}

func (d *decoder) string() string {
	at := d.uint()
	switch {
	case at == 0:
		return ""
	case at > uint64(len(d.strings)):
		d.fail(fmt.Errorf("string %d of %d", at, len(d.strings)))
		return ""
	}
	return d.strings[at-1]
}

func (d *decoder) message() director.Message {
	m := director.Message{
		Answer: d.byte(messageAnswer) != 0, From: d.string(), Incarnation: d.uint(), Seq: d.uint(),
		Sent: director.Instant(d.int()), Word: d.word(),
	}
	for range d.count(maxHears, "nodes heard") {
		flags := d.byte(hearHeard | hearThin)
		h := director.Hear{
			Heard: flags&hearHeard != 0, Thin: flags&hearThin != 0, Node: d.string(), Incarnation: d.uint(), Seq: d.uint(),
			Sent: director.Instant(d.int()), Silent: d.time(),
		}
		if h.Heard {
			h.Word = d.word()
		}
		m.Hears = append(m.Hears, h)
	}
	return m
}

func (d *decoder) word() director.Word {
	flags := d.byte(wordLeaving | wordMaintenance | wordGateway | wordOrder | wordOrderOn)
	w := director.Word{
		Leaving: flags&wordLeaving != 0, Maintenance: flags&wordMaintenance != 0, Gateway: flags&wordGateway != 0,
		GatewayAge: d.time(), Digest: d.string(), Order: d.order(flags),
	}
	for range d.count(maxClaims, "groups") {
		w.Groups = append(w.Groups, d.claim())
	}
	return w
}

// order is there if the flags say so.
func (d *decoder) order(flags byte) director.Order {
	if flags&wordOrder == 0 {
		return director.Order{}
	}
	return director.Order{On: flags&wordOrderOn != 0, Node: d.string(), Seq: d.uint()}
}

func (d *decoder) claim() director.Claim {
	flags := d.byte(claimAble | claimReady | claimStopFailed | claimForced | claimBlocked)
	return director.Claim{
		Able: flags&claimAble != 0, Ready: flags&claimReady != 0,
		StopFailed: flags&claimStopFailed != 0, Forced: flags&claimForced != 0, Blocked: flags&claimBlocked != 0,
		Group: d.string(), Role: d.role(), Epoch: d.uint(), Priority: int(d.int()), Fitness: int(d.int()), Renewed: d.time(),
		Leave: d.string(), LeaveEpoch: d.uint(), To: d.string(), Request: d.string(), Refused: d.reason(), Why: d.reason(),
	}
}

func (d *decoder) role() director.Role {
	v := d.uint()
	if v > uint64(director.Maintenance) {
		d.fail(fmt.Errorf("unknown role %d", v))
		return 0
	}
	return director.Role(v)
}

func (d *decoder) reason() director.Reason {
	v := d.uint()
	if v > uint64(director.ReasonCleared) {
		d.fail(fmt.Errorf("unknown reason %d", v))
		return director.Reason{}
	}
	return director.Reason{Code: director.Code(v), Node: d.string(), Detail: d.string()}
}
