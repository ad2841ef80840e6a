package dns

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

// sendings is how often a question goes out over UDP.
const sendings = 4

// maxStray bounds the messages of a stream that are not the answer.
const maxStray = 100

// udpSize is what we take over UDP where the question says so: it passes
// everywhere in one piece (RFC 9715).
const udpSize = 1232

// ask asks one host and judges its answer, which is returned if it is good.
func (p *probe) ask(ctx context.Context, host string, took *monitors.Timings) (*dns.Msg, error) {
	target, err := dial.ParseTarget(host, p.Port)
	if err != nil {
		return nil, monitors.Untested(err)
	}
	if p.Transport != "udp" {
		return p.askStream(ctx, target, took)
	}
	var answer *dns.Msg
	err = p.dialer.Each(ctx, target, took, func(to netip.AddrPort, left int) (err error) {
		share, cancel := dial.Share(ctx, left)
		defer cancel()
		answer, err = p.askAddress(share, to, took)
		return err
	})
	return answer, err
}

// askAddress asks over UDP, and over TCP if the answer is truncated, and judges.
func (p *probe) askAddress(ctx context.Context, to netip.AddrPort, took *monitors.Timings) (*dns.Msg, error) {
	answer, err := p.askDatagram(ctx, to, took)
	switch {
	case err != nil:
		return nil, err
	case !answer.Truncated:
		return answer, p.wish.judge(answer)
	}
	same := dial.Target{Name: to.Addr().String(), Addr: to.Addr(), Port: to.Port()}
	if answer, err = p.askStream(ctx, same, took); err != nil {
		return nil, fmt.Errorf("the answer over UDP is truncated, and over TCP: %w", err)
	}
	return answer, nil
}

// message is the question, with a random number of its own.
func (p *probe) message() *dns.Msg {
	m := &dns.Msg{Question: []dns.Question{p.wish.question}}
	m.Id = dns.Id()
	m.RecursionDesired = p.recurse
	if p.wish.dnssec { // Old servers refuse what they don't know, so not always.
		m.SetEdns0(udpSize, true)
		m.AuthenticatedData = true // RFC 6840, 5.7
	}
	return m
}

// answers reports whether a packet is the answer to a question: the number and the
// question must be the same, but servers that understood nothing repeat none.
func answers(question *dns.Msg, packet []byte) (*dns.Msg, bool) {
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		// The library refuses a message that is cut within a record.
		if len(packet) < 12 || !m.Truncated {
			return nil, false
		}
	}
	if m.Id != question.Id || !m.Response || m.Opcode != question.Opcode {
		return nil, false
	}
	if len(m.Question) == 0 {
		return m, m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	}
	own, theirs := question.Question[0], m.Question[0]
	return m, len(m.Question) == 1 && sameName(own.Name, theirs.Name) && own.Qtype == theirs.Qtype && own.Qclass == theirs.Qclass
}

func (p *probe) askDatagram(ctx context.Context, to netip.AddrPort, took *monitors.Timings) (*dns.Msg, error) {
	question := p.message()
	packet, err := question.Pack()
	if err != nil {
		return nil, monitors.Untested(err)
	}
	conn, err := p.dialer.Datagrams(to, took)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	interval := p.Timeout.Std()
	if deadline, ok := ctx.Deadline(); ok {
		interval = min(interval, time.Until(deadline))
	}
	var answer *dns.Msg
	stray := 0
	err = conn.Exchange(ctx, packet, interval/sendings, func(packet []byte) (ok bool) {
		if answer, ok = answers(question, packet); !ok {
			stray++
		}
		return ok
	})
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil && stray > 0:
		return nil, fmt.Errorf("%s: no answer within the timeout; %d datagrams were no answer to the question", to, stray)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: no answer within the timeout", to)
	}
	return nil, err
}

// askStream asks over TCP or TLS, and judges.
func (p *probe) askStream(ctx context.Context, target dial.Target, took *monitors.Timings) (*dns.Msg, error) {
	conn, err := p.dialer.Dial(ctx, target, took)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // The verdict stands by then.
	if p.tls != nil {
		secure, err := p.tls.Handshake(ctx, conn, cmp.Or(p.ServerName, target.Host()))
		if err != nil {
			return nil, p.broken(ctx, err)
		}
		conn = secure
	}
	answer, err := p.converse(conn)
	if err != nil {
		return nil, p.broken(ctx, err)
	}
	return answer, p.wish.judge(answer)
}

// converse sends the question and reads messages, each after its length (RFC 1035,
// 4.2.2), until the answer comes.
func (p *probe) converse(conn net.Conn) (*dns.Msg, error) {
	question := p.message()
	packet, err := question.Pack()
	if err != nil {
		return nil, monitors.Untested(err)
	}
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	if _, err := conn.Write(framed); err != nil {
		return nil, fmt.Errorf("the question could not be sent: %w", dial.Broken(err))
	}
	for range maxStray {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, fmt.Errorf("no answer: %w", dial.Broken(err))
		}
		packet := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, packet); err != nil {
			return nil, fmt.Errorf("no whole answer: %w", dial.Broken(err))
		}
		if answer, ok := answers(question, packet); ok {
			return answer, nil
		}
	}
	return nil, errors.New("no message of many was an answer to the question")
}

// broken words the end of an open connection.
func (p *probe) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("connected, but no answer within the timeout")
	}
	return fmt.Errorf("connected, but %w", err)
}
