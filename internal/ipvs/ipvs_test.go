package ipvs

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeyString(t *testing.T) {
	for want, k := range map[string]Key{
		"-t 10.0.0.1:80":               AddressKey(TCP, ap("10.0.0.1:80")),
		"-t 10.0.0.1:81":               AddressKey(TCP, ap("[::ffff:10.0.0.1]:81")), // one key for one service
		"-u [2001:db8::1]:53":          AddressKey(UDP, ap("[2001:db8::1]:53")),
		"--sctp-service 10.0.0.1:2905": AddressKey(SCTP, ap("10.0.0.1:2905")),
		"-f 9":                         MarkKey(9, INET),
		"-f 9 -6":                      MarkKey(9, INET6),
	} {
		if got := k.String(); got != want {
			t.Errorf("%+v is %q, want %q", k, got, want)
		}
		if err := k.Check(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestLines(t *testing.T) {
	key := AddressKey(TCP, ap("10.0.0.1:80"))
	for want, got := range map[string]string{
		"-t 10.0.0.1:80 -s wlc":                          Service{Key: key, Scheduler: "wlc", Timeout: 50}.Line(),
		"-t 10.0.0.1:80 -s wlc -p 50":                    Service{Key: key, Scheduler: "wlc", Flags: Persistent, Timeout: 50, Prefix: 32}.Line(),
		"-t 10.0.0.1:80 -s wlc -p 50 -M 255.255.240.0":   Service{Key: key, Scheduler: "wlc", Flags: Persistent, Timeout: 50, Prefix: 20}.Line(),
		"-f 9 -6 -s sh -p 50 -M 64 -b sh-fallback":       Service{Key: MarkKey(9, INET6), Scheduler: "sh", Flags: Persistent | SHFallback, Timeout: 50, Prefix: 64}.Line(),
		"-t 10.0.0.1:80 -s mh -b mh-fallback,mh-port":    Service{Key: key, Scheduler: "mh", Flags: MHFallback | MHPort}.Line(),
		"-t 10.0.0.1:80 -s rr --pe sip -o -b flag-3":     Service{Key: key, Scheduler: "rr", Engine: "sip", Flags: OnePacket | Sched3}.Line(),
		"-t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1":          Destination{Address: ap("10.0.0.2:80"), Forward: Route, Weight: 1}.Line(key),
		"-t 10.0.0.1:80 -r 10.0.0.2:8 -m -w 0 -x 9 -y 3": Destination{Address: ap("10.0.0.2:8"), Upper: 9, Lower: 3}.Line(key),
		"-t 10.0.0.1:80 -r [::2]:80 -i --tun-type gue --tun-port 6080 --tun-remcsum -w 1": Destination{
			Address: ap("[::2]:80"), Forward: Tunnel, Weight: 1, Tunnel: Encapsulation{GUE, 6080, RemoteChecksum},
		}.Line(key),
	} {
		if got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	}
}

func TestSame(t *testing.T) {
	s := Service{Key: AddressKey(TCP, ap("10.0.0.1:80")), Scheduler: "wlc", Flags: Persistent, Timeout: 50}
	for name, tc := range map[string]struct {
		change func(*Service)
		same   bool
	}{
		"nothing":      {func(*Service) {}, true},
		"counters":     {func(s *Service) { s.Stats.CPS = 9 }, true},
		"default mask": {func(s *Service) { s.Prefix = 32 }, true},
		"hashed":       {func(s *Service) { s.Flags |= hashed }, true},
		"mask":         {func(s *Service) { s.Prefix = 24 }, false},
		"odd mask":     {func(s *Service) { s.Prefix = -1 }, false},
		"timeout":      {func(s *Service) { s.Timeout = 51 }, false},
		"scheduler":    {func(s *Service) { s.Scheduler = "rr" }, false},
		"flags":        {func(s *Service) { s.Flags |= OnePacket }, false},
		"engine":       {func(s *Service) { s.Engine = "sip" }, false},
		"key":          {func(s *Service) { s.Key.Protocol = UDP }, false},
	} {
		o := s
		tc.change(&o)
		if s.Same(o) != tc.same || o.Same(s) != tc.same {
			t.Errorf("service, %s: the same is %v, want %v", name, s.Same(o), tc.same)
		}
	}
	if !(Service{Timeout: 1, Prefix: 24}).Same(Service{Timeout: 2}) {
		t.Error("without persistence its settings count")
	}
	d := Destination{Address: ap("10.0.0.2:80"), Forward: Route, Weight: 1}
	for name, tc := range map[string]struct {
		change func(*Destination)
		same   bool
	}{
		"nothing":          {func(*Destination) {}, true},
		"counters":         {func(d *Destination) { d.Active, d.Stats.CPS = 3, 9 }, true},
		"connection flags": {func(d *Destination) { d.Forward |= 0x100 }, true},
		"unused tunnel":    {func(d *Destination) { d.Tunnel.Type = GUE }, true},
		"forward":          {func(d *Destination) { d.Forward = Tunnel }, false},
		"weight":           {func(d *Destination) { d.Weight = 0 }, false},
		"upper":            {func(d *Destination) { d.Upper = 5 }, false},
		"port":             {func(d *Destination) { d.Address = ap("10.0.0.2:81") }, false},
	} {
		o := d
		tc.change(&o)
		if d.Same(o) != tc.same {
			t.Errorf("destination, %s: the same is %v, want %v", name, d.Same(o), tc.same)
		}
	}
	a, b := d, d
	a.Forward, b.Forward, b.Tunnel = Tunnel, Tunnel, Encapsulation{GUE, 1, 0}
	if a.Same(b) {
		t.Error("ipip is the same as gue")
	}
}

func TestCheck(t *testing.T) {
	key := AddressKey(TCP, ap("10.0.0.1:80"))
	good := Service{Key: key, Scheduler: "rr"}
	server := Destination{Address: ap("10.0.0.2:80"), Forward: Route, Weight: 1}
	service := func(f func(*Service)) error { s := good; f(&s); return s.Check() }
	destination := func(f func(*Destination)) error { d := server; f(&d); return d.Check(key) }
	daemon := func(f func(*Daemon)) error { d := Daemon{Role: Master, Interface: "eth0"}; f(&d); return d.Check() }
	for want, err := range map[string]error{
		"of IPv4 or of IPv6":        Key{Protocol: TCP, Address: key.Address}.Check(),
		"not both":                  Key{Family: INET, FWMark: 3, Protocol: TCP}.Check(),
		"of tcp, udp or sctp":       AddressKey(1, key.Address).Check(),
		"address is missing":        AddressKey(TCP, netip.AddrPort{}).Check(),
		"no zones":                  AddressKey(TCP, ap("[fe80::1%eth0]:80")).Check(),
		"not an address of IPv6":    Key{Family: INET6, Protocol: TCP, Address: key.Address}.Check(),
		"::ffff:1.2.3.4 is to be":   Key{Family: INET, Protocol: TCP, Address: ap("[::ffff:1.2.3.4]:80")}.Check(),
		"name of the scheduler":     service(func(s *Service) { s.Scheduler = "" }),
		"1 to 15 letters":           service(func(s *Service) { s.Scheduler = "a-name-of-16-let" }),
		"persistence engine":        service(func(s *Service) { s.Engine = "a b" }),
		"1 to 32 bits":              service(func(s *Service) { s.Prefix = 33 }),
		"32 bits long, not -1":      service(func(s *Service) { s.Prefix = -1 }),
		"at most 2678400":           service(func(s *Service) { s.Timeout = 2678401 }),
		"weight is 0 to":            destination(func(d *Destination) { d.Weight = -1 }),
		"not 2147483648":            destination(func(d *Destination) { d.Weight = 1 << 31 }),
		"threshold 3 is above":      destination(func(d *Destination) { d.Lower = 3 }),
		"threshold is at most":      destination(func(d *Destination) { d.Upper = 1 << 31 }),
		"no way of forwarding":      destination(func(d *Destination) { d.Forward = 4 }),
		"by a tunnel only":          destination(func(d *Destination) { d.Address = ap("[::2]:80") }),
		"gue needs a port":          destination(func(d *Destination) { d.Forward, d.Tunnel.Type = Tunnel, GUE }),
		"gre has no port":           destination(func(d *Destination) { d.Forward, d.Tunnel = Tunnel, Encapsulation{GRE, 1, 0} }),
		"ipip has neither":          destination(func(d *Destination) { d.Forward, d.Tunnel = Tunnel, Encapsulation{IPIP, 1, 0} }),
		"unknown tunnel type 3":     destination(func(d *Destination) { d.Forward, d.Tunnel.Type = Tunnel, 3 }),
		"master or backup":          daemon(func(d *Daemon) { d.Role = 3 }),
		"name of the interface":     daemon(func(d *Daemon) { d.Interface = "" }),
		"sync id is 0 to 255":       daemon(func(d *Daemon) { d.SyncID = 256 }),
		"not a multicast group":     daemon(func(d *Daemon) { d.Group = netip.MustParseAddr("10.0.0.1") }),
		"tcp timeout is negative":   Timeouts{TCP: -1}.Check(),
		"not in whole seconds":      Timeouts{UDP: time.Millisecond}.Check(),
		"tcp_fin timeout is too lo": Timeouts{TCPFin: 365 * 24 * time.Hour}.Check(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	for _, err := range []error{good.Check(), server.Check(key), daemon(func(*Daemon) {}), Timeouts{}.Check(), Timeouts{TCP: 24 * 24 * time.Hour}.Check()} {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestErrors: what the kernel's numbers mean depends on the question.
func TestErrors(t *testing.T) {
	key := AddressKey(TCP, ap("10.0.0.1:80"))
	service := Subject{Op: OpAddService, Key: key, Scheduler: "wlc"}
	server := Subject{Op: OpRemoveDestination, Key: key, Address: ap("10.0.0.2:80")}
	for _, tc := range []struct {
		subject Subject
		err     error
		is      error
		text    string
	}{
		{service, syscall.EEXIST, ErrExists, "add the service -t 10.0.0.1:80: it exists already (file exists)"},
		{service, syscall.ENOENT, ErrNoScheduler, `add the service -t 10.0.0.1:80: the kernel has no such scheduler: "wlc"; load it with "modprobe ip_vs_wlc" (no such file or directory)`},
		{Subject{Op: OpAddService, Key: key, Scheduler: "rr", Engine: "sip"}, syscall.ENOENT, ErrNoScheduler, `"modprobe ip_vs_rr" or "modprobe ip_vs_pe_sip"`},
		{service, syscall.EPERM, ErrNoPermission, "CAP_NET_ADMIN"},
		{service, syscall.EACCES, ErrNoPermission, "root"},
		{service, syscall.ENOMEM, syscall.ENOMEM, "cannot allocate memory"},
		{server, syscall.ENOENT, ErrMissing, "remove a server from -t 10.0.0.1:80 -r 10.0.0.2:80: it does not exist"},
		{server, syscall.ESRCH, ErrMissing, "the service: it does not exist"},
		{server, syscall.EINVAL, syscall.EINVAL, "with an interface up"},
		{Subject{Op: OpStopDaemon, Role: Backup}, syscall.ESRCH, ErrMissing, "stop the sync daemon backup: it does not exist"},
		{service, context.DeadlineExceeded, ErrTimeout, "did not come in time"},
		{service, ErrNoKernel, ErrNoKernel, `[lvs] backend = "relay"`},
	} {
		err := Explain(tc.subject, tc.err)
		var typed *Error
		if !errors.Is(err, tc.is) || !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text) || !errors.As(err, &typed) || typed.Key != tc.subject.Key {
			t.Errorf("%v: %v, want %q", tc.err, err, tc.text)
		}
		if again := Explain(Subject{Op: OpInfo}, err); !errors.Is(again, err) || again.Error() != err.Error() {
			t.Errorf("explained twice: %v", again)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %v", err)
		}
	}
	if err := Explain(service, nil); err != nil {
		t.Errorf("nothing is explained as %v", err)
	}
}

// TestOpen is true on every machine: without IPVS the kernel's lack is said,
// with it the table can be read.
func TestOpen(t *testing.T) {
	c, err := Open(t.Context())
	if err == nil {
		defer func() { must(t, c.Close()) }()
		if _, err := c.Services(t.Context()); err != nil {
			t.Errorf("open, and then: %v", err)
		}
		return
	}
	if !errors.Is(err, ErrNoKernel) && !errors.Is(err, ErrNoPermission) {
		t.Errorf("opened with %v, want ErrNoKernel or ErrNoPermission", err)
	}
	if c != nil {
		t.Error("a client beside an error")
	}
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("opened with %v", err)
	}
}

func TestReadConnections(t *testing.T) {
	text := `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A000001 8000 C0A80001 0050 C0A80002 1F90 ESTABLISHED     899
UDP 0A000001 13C4 C0A80001 13C4 C0A80002 13C4 UDP             300 sip 7@host  x
TCP 2001:0db8:0000:0000:0000:0000:0000:0001 8000 2001:0db8:0000:0000:0000:0000:0000:0002 0050 2001:0db8:0000:0000:0000:0000:0000:0003 0050 SYN_RECV         3
TCP 0A000001 8000 C0A80001 0050 2001:0db8:0000:0000:0000:0000:0000:0003 0050 FIN_WAIT    18446744073709551
IP  0A000001 0000 00000009 0000 C0A80002 0000 NONE             50
`
	want := []Connection{
		{Protocol: "TCP", Client: ap("10.0.0.1:32768"), Virtual: ap("192.168.0.1:80"), Server: ap("192.168.0.2:8080"), State: "ESTABLISHED", Expires: 899 * time.Second},
		{Protocol: "UDP", Client: ap("10.0.0.1:5060"), Virtual: ap("192.168.0.1:5060"), Server: ap("192.168.0.2:5060"), State: "UDP", Expires: 300 * time.Second, Engine: "sip", EngineData: "7@host x"},
		{Protocol: "TCP", Client: ap("[2001:db8::1]:32768"), Virtual: ap("[2001:db8::2]:80"), Server: ap("[2001:db8::3]:80"), State: "SYN_RECV", Expires: 3 * time.Second},
		{Protocol: "TCP", Client: ap("10.0.0.1:32768"), Virtual: ap("192.168.0.1:80"), Server: ap("[2001:db8::3]:80"), State: "FIN_WAIT"},
		{Protocol: "IP", Client: ap("10.0.0.1:0"), Virtual: ap("0.0.0.9:0"), Server: ap("192.168.0.2:0"), State: "NONE", Expires: 50 * time.Second},
	}
	var got []Connection
	for c, err := range ReadConnections(t.Context(), strings.NewReader(text)) {
		must(t, err)
		got = append(got, c)
	}
	if diff := cmp.Diff(want, got, sameAddresses); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

func TestReadConnectionsRefuses(t *testing.T) {
	const good = "TCP 0A000001 8000 C0A80001 0050 C0A80002 0050 ESTABLISHED 899"
	for bad, want := range map[string]string{
		"TCP 0A000001 8000":                               "3 columns",
		strings.Replace(good, "0A000001", "0A1", 1):       "8 hexadecimal digits",
		strings.Replace(good, "0A000001", "1::g", 1):      "is not IPv6",
		strings.Replace(good, "0A000001", "fe80::1%a", 1): "is not IPv6",
		strings.Replace(good, "0050", "10050", 1):         "4 hexadecimal digits",
		strings.Replace(good, "899", "-1", 1):             "no seconds",
		strings.Repeat("x", 1<<20):                        "too long",
	} {
		var last error
		n := 0
		for _, err := range ReadConnections(t.Context(), strings.NewReader(good+"\n"+bad+"\n"+good)) {
			n++
			last = err
		}
		if last == nil || n != 2 || !strings.Contains(last.Error(), want) {
			t.Errorf("%.60q: %v after %d, want %q after 2", bad, last, n, want)
		}
	}
	for _, err := range ReadConnections(t.Context(), iotest.ErrReader(fs.ErrClosed)) {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a reader's error: %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range ReadConnections(ctx, strings.NewReader(good)) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func FuzzReadConnections(f *testing.F) {
	f.Add("TCP 0A000001 8000 C0A80001 0050 C0A80002 0050 ESTABLISHED 899\n")
	f.Add("UDP 0A000001 13C4 C0A80001 13C4 2001:0db8::1 13C4 UDP 300 sip x\n")
	f.Fuzz(func(t *testing.T, text string) {
		ended := false
		for c, err := range ReadConnections(t.Context(), strings.NewReader(text)) {
			if ended {
				t.Fatal("it goes on after an error")
			}
			ended = err != nil
			if err == nil && (!c.Client.IsValid() || !c.Virtual.IsValid() || !c.Server.IsValid() || c.Expires < 0) {
				t.Errorf("accepted as %+v", c)
			}
		}
	})
}
