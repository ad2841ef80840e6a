package ipvs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ReadConnections parses the file /proc/net/ip_vs_conn (ip_vs_conn_seq_show in
// the kernel):
//
//	Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
//	TCP 0A000001 8000 C0A80001 0050 C0A80002 0050 ESTABLISHED     899
//
// IPv6 addresses are written in full, 2001:0db8:0000:…; the server's may be of
// another family than the others. It ends after an error.
func ReadConnections(ctx context.Context, r io.Reader) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		lines := bufio.NewScanner(r)
		for n := 1; lines.Scan(); n++ {
			if n == 1 && strings.HasPrefix(lines.Text(), "Pro ") {
				continue
			}
			c, err := parseConnection(lines.Text())
			if err != nil {
				err = fmt.Errorf("line %d: %w", n, err)
			}
			if stopped := ctx.Err(); stopped != nil {
				c, err = Connection{}, stopped
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Connection{}, err)
		}
	}
}

// The columns up to the persistence engine's.
const connectionColumns = 9

func parseConnection(line string) (Connection, error) {
	f := strings.Fields(line)
	if len(f) < connectionColumns {
		return Connection{}, fmt.Errorf("%d columns instead of %d: %q", len(f), connectionColumns, line)
	}
	c := Connection{Protocol: f[0], State: f[7]}
	var err error
	for i, to := range []*netip.AddrPort{&c.Client, &c.Virtual, &c.Server} {
		if *to, err = parseHexAddrPort(f[1+2*i], f[2+2*i]); err != nil {
			return Connection{}, err
		}
	}
	if c.Expires, err = parseExpires(f[8]); err != nil {
		return Connection{}, err
	}
	if len(f) > connectionColumns {
		c.Engine = f[9]
		c.EngineData = strings.Join(f[10:], " ")
	}
	return c, nil
}

func parseHexAddrPort(addr, port string) (netip.AddrPort, error) {
	a, err := parseHexAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(port) != 4 {
		return netip.AddrPort{}, fmt.Errorf("port %q is not in 4 hexadecimal digits", port)
	}
	return netip.AddrPortFrom(a, uint16(p)), nil
}

func parseHexAddr(s string) (netip.Addr, error) {
	if strings.Contains(s, ":") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Addr{}, fmt.Errorf("address %q is not IPv6", s)
		}
		return a, nil
	}
	v, err := strconv.ParseUint(s, 16, 32)
	if err != nil || len(s) != 8 {
		return netip.Addr{}, fmt.Errorf("address %q is not in 8 hexadecimal digits", s)
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), nil
}

// longest is more than any timeout, and less than a negative number of jiffies
// becomes in an unsigned long.
const longest = 1 << 24 // seconds

// parseExpires takes seconds. A connection that has expired but is not yet
// removed shows as what a negative number becomes.
func parseExpires(s string) (time.Duration, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%q are no seconds", s)
	}
	if v > longest {
		return 0, nil
	}
	return time.Duration(v) * time.Second, nil
}
