package ipvs

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestRequests compares what goes to the kernel, attribute for attribute, with
// testdata/requests.golden, which was read against the kernel's
// include/uapi/linux/ip_vs.h.
func TestRequests(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden file is of a little-endian machine")
	}
	w := newWire(func(r request) ([]netlink.Message, error) {
		switch r.command {
		case cmdGetService, cmdGetDest, cmdGetDaemon:
			return list(), nil
		case cmdGetConfig:
			return []netlink.Message{payload(nil)}, nil
		default:
			return refusal(0), nil
		}
	})
	c := newWireClient(t, w)
	// The answer would say which tunnels there are; here there is none.
	_, _ = call(t.Context(), c, Subject{}, func(l *link) (int, error) { l.tunnels = true; return 0, nil })
	var b strings.Builder
	for _, call := range everyCall(t, c) {
		if err := call.do(); err != nil {
			t.Fatalf("%s: %v", call.name, err)
		}
		fmt.Fprintf(&b, "%s\n", call.name)
		for _, r := range w.seen() {
			fmt.Fprintf(&b, "  command %d, flags %#x\n%s", r.command, uint16(r.flags), render(t, r.data, "    "))
		}
	}
	golden := filepath.Join("testdata", "requests.golden")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

type namedCall struct {
	name string
	do   func() error
}

// everyCall is each command, in each of its forms.
func everyCall(t *testing.T, c *Client) []namedCall {
	ctx := t.Context()
	v4, v6 := ap("10.0.0.2:8080"), ap("[2001:db8::2]:8080")
	var calls []namedCall
	add := func(name string, do func() error) { calls = append(calls, namedCall{name, do}) }
	for _, s := range []Service{
		{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc", Flags: Persistent | SHPort | hashed, Timeout: 50, Prefix: 24, Engine: "sip"},
		{Key: AddressKey(SCTP, ap("[2001:db8::1]:80")), Scheduler: "rr", Prefix: 64},
		{Key: MarkKey(9, INET6), Scheduler: "mh", Flags: OnePacket},
	} {
		add("add service "+s.Line(), func() error { return c.AddService(ctx, s) })
	}
	s := Service{Key: AddressKey(UDP, ap("10.0.0.1:53")), Scheduler: "rr"}
	add("change service "+s.Line(), func() error { return c.UpdateService(ctx, s) })
	add("remove service "+s.Key.String(), func() error { return c.RemoveService(ctx, s.Key) })
	add("services", func() error { _, err := c.Services(ctx); return err })
	for _, d := range []Destination{
		{Address: v4, Forward: Route, Weight: 3, Upper: 20, Lower: 10},
		{Address: v6, Forward: Tunnel, Weight: 1},
		{Address: v4, Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{Type: GUE, Port: 6080, Flags: Checksum}},
	} {
		add("add destination "+d.Line(s.Key), func() error { return c.AddDestination(ctx, s.Key, d) })
	}
	d := Destination{Address: v4, Forward: Masq, Weight: 0}
	add("change destination "+d.Line(s.Key), func() error { return c.UpdateDestination(ctx, s.Key, d) })
	add("remove destination "+v6.String(), func() error { return c.RemoveDestination(ctx, s.Key, v6) })
	add("zero "+s.Key.String(), func() error { return c.Zero(ctx, &s.Key) })
	add("zero all", func() error { return c.Zero(ctx, nil) })
	add("timeouts", func() error { _, err := c.Timeouts(ctx); return err })
	add("set timeouts", func() error { return c.SetTimeouts(ctx, Timeouts{TCP: time.Hour, UDP: time.Second}) })
	add("daemons", func() error { _, err := c.Daemons(ctx); return err })
	full := Daemon{Role: Master, Interface: "eth0", SyncID: 7, MaxLength: 1400, Group: netip.MustParseAddr("224.0.0.82"), Port: 9000, TTL: 3}
	add("start master", func() error { return c.StartDaemon(ctx, full) })
	backup := Daemon{Role: Backup, Interface: "eth0", Group: netip.MustParseAddr("ff02::81")}
	add("start backup", func() error { return c.StartDaemon(ctx, backup) })
	add("stop backup", func() error { return c.StopDaemon(ctx, Backup) })
	return calls
}

// render writes attributes, one a line: type, length, bytes.
func render(t *testing.T, data []byte, indent string) string {
	t.Helper()
	var b strings.Builder
	attributes, err := netlink.UnmarshalAttributes(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attributes {
		if a.Type&netlink.Nested != 0 {
			fmt.Fprintf(&b, "%s%d nested\n%s", indent, a.Type&^netlink.Nested, render(t, a.Data, indent+"  "))
			continue
		}
		fmt.Fprintf(&b, "%s%d % x\n", indent, a.Type, a.Data)
	}
	return b.String()
}
