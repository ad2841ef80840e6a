package doctor

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// The states of sockets that take connections or packets from anybody: TCP's
// listen, and UDP's unconnected, which the kernel calls close (net/tcp_states.h).
const (
	tcpListen = "0A"
	udpOpen   = "07"
)

// listeners reads where services listen. A family that the kernel lacks has none.
func listeners() ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for name, state := range map[string]string{"tcp": tcpListen, "tcp6": tcpListen, "udp": udpOpen, "udp6": udpOpen} {
		file, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		some, err := readSockets(file, state)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Name(), err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// readSockets reads proc(5)'s /proc/net/tcp: "0: 0100007F:0016 00000000:0000 0A …".
func readSockets(r io.Reader, state string) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	lines := bufio.NewScanner(r)
	for first := true; lines.Scan(); first = false {
		fields := strings.Fields(lines.Text())
		if first || len(fields) < 4 || fields[3] != state {
			continue
		}
		a, err := socketAddress(fields[1])
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, lines.Err()
}

// socketAddress reads "0100007F:0016": the address in words of 32 bits, printed as
// numbers of this machine's byte order.
func socketAddress(text string) (netip.AddrPort, error) {
	words, portText, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(words)
	port, portErr := strconv.ParseUint(portText, 16, 16)
	if err = errors.Join(err, portErr); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a socket: %w", text, err)
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of a socket", text)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), nil
}
