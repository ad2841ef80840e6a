// Package clock is the monitor "clock": it asks each host for the time by SNTP (RFC
// 5905, 14), and a host whose clock is wrong is down.
//
//	monitor = { type = "clock", offset = "100ms" }
package clock

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/netprobe"
)

// Config is the table of the kind. The tags are its documentation, which "director
// reference monitor clock" prints.
type Config struct {
	Port    int               `toml:"port" doc:"UDP port of hosts that name none of their own; default 123."`
	Offset  monitors.Duration `toml:"offset" doc:"How far a host's clock may be from this machine's; default 1s."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long one host may take; default 5s."`
	Limit   int               `toml:"limit" doc:"How many hosts are asked at once; default 32."`
}

func init() {
	monitors.Register("clock", Config{
		Port: 123, Offset: monitors.Duration(time.Second), Timeout: monitors.Duration(5 * time.Second), Limit: 32,
	}, build)
}

// build checks what the user wrote. Blaming a key gives the message its place in the
// file.
func build(c Config, _ monitors.Site) (monitors.Monitor, error) {
	switch {
	case c.Offset <= 0:
		return nil, monitors.BadKey("offset", "%s is no offset that a clock could keep: write one like \"100ms\"", c.Offset)
	case c.Timeout <= 0:
		return nil, monitors.BadKey("timeout", "%s is no time to answer in: write one like \"5s\"", c.Timeout)
	}
	return monitors.EachHost(c.Limit, c.Timeout.Std(), c.probe), nil
}

// probe tests one host: nil is up, an error down, and one that netprobe.Verdict marks
// as this machine's own is unknown.
func (c Config) probe(ctx context.Context, host string, took *monitors.Timings) error {
	target, err := netprobe.ParseTarget(host, c.Port)
	if err != nil {
		return monitors.Untested(err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", target.String())
	if err != nil {
		return netprobe.Verdict(err)
	}
	defer func() { _ = conn.Close() }()
	// A read knows nothing of contexts: when this one ends, so does the read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()

	nonce, sent := make([]byte, 8), time.Now()
	_, _ = rand.Read(nonce) // never fails
	if _, err := conn.Write(request(nonce)); err != nil {
		return netprobe.Verdict(err)
	}
	for {
		packet := make([]byte, 512)
		n, err := conn.Read(packet)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return netprobe.Verdict(err)
		}
		took.FirstByte = time.Since(sent)
		offset, err := read(packet[:n], nonce, sent, sent.Add(took.FirstByte))
		switch {
		case errors.Is(err, errStranger): // a late answer to somebody else
			continue
		case err != nil:
			return err
		case offset.Abs() > c.Offset.Std():
			return fmt.Errorf("the clock is off by %s", offset.Round(time.Millisecond))
		}
		return nil
	}
}

// size is that of a packet without extensions.
const size = 48

// request is version 4, mode 3 (client). The nonce stands where our time would: the
// host repeats it.
func request(nonce []byte) []byte {
	packet := make([]byte, size)
	packet[0] = 4<<3 | 3
	copy(packet[40:], nonce)
	return packet
}

var errStranger = errors.New("no answer to this question")

// read computes how far the host's clock is ahead, from when the question left and the
// answer came by our own.
func read(packet, nonce []byte, sent, received time.Time) (time.Duration, error) {
	switch {
	case len(packet) < size || string(packet[24:32]) != string(nonce):
		return 0, errStranger
	case packet[0]&7 != 4:
		return 0, fmt.Errorf("the answer is of mode %d, not of a server's, 4", packet[0]&7)
	case packet[1] == 0:
		return 0, fmt.Errorf("it sends us away: %q", packet[12:16]) // a kiss of death
	case packet[1] > 15 || packet[0]>>6 == 3:
		return 0, errors.New("its clock is not synchronised")
	}
	there := instant(packet[32:]).Sub(sent) + instant(packet[40:]).Sub(received)
	return there / 2, nil
}

// instant reads a time: seconds since 1900 and their fraction, in 32 bits each.
func instant(b []byte) time.Time {
	const since1900 = 2_208_988_800
	seconds := int64(binary.BigEndian.Uint32(b)) - since1900
	if seconds < 0 { // after February 2036 the count begins anew
		seconds += 1 << 32
	}
	fraction := int64(binary.BigEndian.Uint32(b[4:])) * int64(time.Second) >> 32
	return time.Unix(seconds, fraction)
}
