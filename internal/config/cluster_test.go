package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/watch"
	"github.com/monitord/monitord/resources"
)

func TestCluster(t *testing.T) {
	c := load(t, "testdata/valid/groups.toml").Cluster
	if !c.Stranger || c.Director.Self != "dr1" {
		t.Errorf("a stranger is %q (%t), want dr1", c.Director.Self, c.Stranger)
	}
	at := netip.MustParseAddrPort
	want := &Cluster{
		Director: director.Config{
			Self:     "dr1",
			Nodes:    []director.Node{{Name: "dr1", Priority: 200}, {Name: "dr2", Priority: 100}, {Name: "web1", Witness: true}},
			Gateways: []string{"10.0.0.1"}, Stonith: director.StonithRequire,
			Groups: []director.Group{
				{Name: "web-vip", Order: []string{"dr2", "dr1"}, Failback: director.Failback{On: true, After: 5 * time.Minute}, Before: true, After: true, Addresses: 2, IPv6: 1},
				{Name: "bare", Together: "web-vip", Bare: true, Before: true},
				{Name: "lone", Apart: []string{"web-vip"}, Addresses: 1},
			},
			Timings: director.DefaultTimings().WithLease(2 * time.Second),
		},
		Stranger: true,
		Links: []heartbeat.Node{
			{Name: "dr1", Links: []netip.AddrPort{at("10.0.0.11:700"), at("10.1.0.11:700")}},
			{Name: "dr2", Links: []netip.AddrPort{at("10.0.0.12:700"), at("10.1.0.12:700")}},
			{Name: "web1", Links: []netip.AddrPort{{}, at("10.1.0.21:700")}},
		},
		LinkNames: []string{"lan", "cross"}, Relay: true, Gateways: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Watchdog: "/dev/watchdog", Interfaces: []string{"eth0"},
		Require: []Require{{Watch: watch.Key{Group: "gateway", Service: "ping"}}, {Group: "web-vip", Watch: watch.Key{Group: "web", Service: "http"}}},
	}
	want.Director.Timings.FastPing, want.Director.Timings.PingWindow = 20*time.Millisecond, 85*time.Millisecond
	if diff := cmp.Diff(want, c, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.IgnoreFields(Cluster{}, "Fixed", "KeyFiles", "Stonith", "Groups"), cmpopts.IgnoreFields(director.Config{}, "Digest")); diff != "" {
		t.Errorf("cluster (-want +got):\n%s", diff)
	}
	folder, err := filepath.Abs("testdata/valid")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{folder + "/keys/new.key", "/etc/monitord/no-such.key"}, c.KeyFiles); diff != "" {
		t.Errorf("key files (-want +got):\n%s", diff)
	}
}

func TestResources(t *testing.T) {
	site := load(t, "testdata/valid/groups.toml")
	var got strings.Builder
	for _, g := range site.Cluster.Groups {
		fmt.Fprintln(&got, g.Name)
		for _, part := range []struct {
			name string
			list []Resource
		}{{"before", g.Before}, {"address", g.Addresses}, {"after", g.After}} {
			for _, r := range part.list {
				fmt.Fprintln(&got, " ", part.name, r.Name, r.StartTimeout, r.StopTimeout, r.Resource != nil)
			}
		}
		for _, a := range g.Alerts {
			fmt.Fprintln(&got, "  alert", a.Name)
		}
	}
	want := `web-vip
  before lvs shop mail 20s 20s true
  address vip 10.0.0.100 20s 20s true
  address vip 2001:db8::100/64 eth0 20s 20s true
  after test-step x.service 3s 1m0s true
  after test-step x.service #2 20s 20s true
  alert test-note ops
  alert test-note ops #2
  alert exec /bin/true
bare
  before test-step /no/such/file 20s 20s false
lone
  address vip 10.0.0.101 20s 20s true
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	owners := map[string]string{}
	for _, w := range site.Watches {
		owners[w.Key.String()] = w.Owner
	}
	for name, q := range site.Quorums {
		owners["quorum of "+name] = q.Owner
	}
	if diff := cmp.Diff(map[string]string{"web:http": "lone", "gateway:ping": "web-vip", "quorum of mail": "web-vip", "quorum of other": "lone"}, owners); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

// A fakeTable is the daemon's.
type fakeTable struct {
	resources.Table
	held []string
}

func (f *fakeTable) Hold(_ context.Context, names ...string) error {
	f.held = append(f.held, names...)
	return nil
}

func TestResourcesHoldInTheHostsTable(t *testing.T) {
	first := func(host Host) resources.Resource {
		site, err := Load("testdata/valid/groups.toml", host)
		if err != nil {
			t.Fatal(err)
		}
		return site.Cluster.Groups[0].Before[0].Resource
	}
	host := testHost()
	if err := first(host).Start(t.Context()); !errors.Is(err, errNoTable) {
		t.Errorf("without a table: %v", err)
	}
	behind := &fakeTable{}
	host.Table = behind
	if err := first(host).Start(t.Context()); err != nil || !cmp.Equal(behind.held, []string{"shop", "mail"}) {
		t.Errorf("held %q, %v", behind.held, err)
	}
}

// What a director needs must be there on the directors that hold the group.
func TestFilesAreNeededWhereTheyAreUsed(t *testing.T) {
	text, err := os.ReadFile("testdata/valid/groups.toml")
	if err != nil {
		t.Fatal(err)
	}
	for node, want := range map[string]string{"web1": "no-such.key", "dr2": "/no/such/file"} {
		host := testHost()
		host.Node = node
		_, err := Load(siteFile(t, string(text)), host)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "no-such-agent") {
			t.Errorf("%s: error %v, want one about %s and the stonith program", node, err, want)
		}
		if node == "web1" && err != nil && strings.Contains(err.Error(), "/no/such/file") {
			t.Errorf("a witness holds nothing: %v", err)
		}
	}
}

func TestStonithCalls(t *testing.T) {
	agent := load(t, "testdata/valid/groups.toml").Cluster.Stonith
	args, in := agent.Call("off", "dr1")
	if want := "action=off\nplug=10.9.0.1\nip=10.9.0.1\nusername=monitord\npassword=secret\n"; args != nil || string(in) != want {
		t.Errorf("off dr1: %q %q, want no arguments and %q", args, in, want)
	}
	if _, in := agent.Call("status", "dr2"); !strings.HasPrefix(string(in), "action=status\nplug=dr2\nip=dr2\n") {
		t.Errorf("status dr2: %q", in)
	}
	if agent.Timeout != 5*time.Second || agent.Program != "/usr/sbin/no-such-agent" {
		t.Errorf("agent %+v", agent)
	}
	c := load(t, siteFile(t, pairText+"[fence]\nstonith = { program = '/bin/true' }\n")).Cluster
	if args, in := c.Stonith.Call("status", "dr2"); !cmp.Equal(args, []string{"status", "dr2"}) || in != nil {
		t.Errorf("an own program is called with %q %q", args, in)
	}
	if c.Director.Stonith != director.StonithAsk {
		t.Error("it is required although nobody said so")
	}
	c = load(t, siteFile(t, pairText+"[fence]\nstonith = { program = '/bin/true', args = ['-o{action}', '{plug} of {node}'], plug = { dr1 = '1' } }\n")).Cluster
	if args, in := c.Stonith.Call("off", "dr1"); !cmp.Equal(args, []string{"-ooff", "1 of dr1"}) || in != nil {
		t.Errorf("with arguments it is called with %q %q", args, in)
	}
}

const pairText = `[cluster]
node = [{ name = "dr1", address = ["10.0.0.11"] }, { name = "DR2.example.org", address = ["10.0.0.12", "fe80::2%eth0"] }]
[[group]]
name = "a"
resource = { type = "vip", address = "10.0.0.100" }
`

func TestAmong(t *testing.T) {
	nodes := []heartbeat.Node{
		{Name: "dr1", Links: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.11:1")}},
		{Name: "DR2.example.org", Links: []netip.AddrPort{{}, netip.MustParseAddrPort("[fe80::2%eth0]:1")}},
		{Name: "dr2.example.com", Links: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.13:1")}},
	}
	addresses := func(texts ...string) []netip.Addr {
		var all []netip.Addr
		for _, a := range texts {
			all = append(all, netip.MustParseAddr(a))
		}
		return all
	}
	for name, tt := range map[string]struct {
		host Host
		want string
		err  string
	}{
		"told":                   {Host{Node: "dr1", Hostname: "dr2.example.com"}, "dr1", ""},
		"told wrongly":           {Host{Node: "dr3", Hostname: "dr1"}, "", `--node dr3: there is no such node: did you mean "dr1"?`},
		"by its name":            {Host{Hostname: "dr1", Addresses: addresses("10.0.0.13")}, "dr1", ""},
		"by its full name":       {Host{Hostname: "dr2.example.com"}, "dr2.example.com", ""},
		"whatever the case":      {Host{Hostname: "dr2.EXAMPLE.org"}, "DR2.example.org", ""},
		"with a domain":          {Host{Hostname: "dr1.example.org"}, "dr1", ""},
		"short for two":          {Host{Hostname: "dr2", Addresses: addresses("10.0.0.13")}, "dr2.example.com", ""},
		"by a mapped address":    {Host{Hostname: "x", Addresses: addresses("127.0.0.1", "::ffff:10.0.0.11")}, "dr1", ""},
		"by an address's zone":   {Host{Hostname: "x", Addresses: addresses("fe80::2%enp3s0")}, "DR2.example.org", ""},
		"by several addresses":   {Host{Hostname: "x", Addresses: addresses("10.0.0.11", "10.0.0.13")}, "", "addresses of several nodes, dr1, dr2.example.com"},
		"not at all":             {Host{Hostname: "x", Addresses: addresses("127.0.0.1", "10.9.9.9")}, "", `none is called "x" (its host name) and none has an address of it (10.9.9.9)`},
		"short for two, no more": {Host{Hostname: "dr2"}, "", "--node NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.host.among(nodes)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	folder := t.TempDir()
	one, two := filepath.Join(folder, "one.key"), filepath.Join(folder, "two.key")
	key := heartbeat.NewKey()
	for file, text := range map[string]string{one: key, two: heartbeat.NewKey(), filepath.Join(folder, "same.key"): key} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(keys string) (*Site, error) {
		file := filepath.Join(folder, "site.toml")
		text := strings.Replace(pairText, "[cluster]\n", "[cluster]\nkey_file = "+keys+"\n", 1)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		host := testHost()
		host.Node = "dr1"
		return Load(file, host)
	}
	site, err := read(`["one.key", "two.key"]`)
	if err != nil || !cmp.Equal(site.Cluster.KeyFiles, []string{one, two}) {
		t.Errorf("got %+v, %v", site, err)
	}
	if _, err := read(`["one.key", "same.key"]`); err == nil || !strings.Contains(err.Error(), "2:12: key_file: key file "+folder+"/same.key: it has the same key as") {
		t.Errorf("the same key twice: %v", err)
	}
	if site, err := read(`"two.key"`); err != nil || len(site.Cluster.KeyFiles) != 1 {
		t.Errorf("one key: %v", err)
	}
}

// TestKeyOfSomebodyElse: an ordinary user may check, and root alone may read the key.
func TestKeyOfSomebodyElse(t *testing.T) {
	b := newBuilder(&report{}, testHost())
	at := newSource("x.toml", nil).place(0)
	b.keyFile(at, "the.key", fmt.Errorf("key file the.key: %w", fs.ErrPermission), false)
	if len(b.problems) != 0 || len(b.warnings) != 1 || b.warnings[0].Message != "key_file: the.key was not looked at: permission denied" {
		t.Errorf("problems %v, warnings %v", b.problems, b.warnings)
	}
	b.keyFile(at, "the.key", errors.New("other"), true)
	if len(b.problems) != 1 {
		t.Error("any other error is none")
	}
}

func TestRelay(t *testing.T) {
	const gateway = "[fence]\ngateway = '10.0.0.1'\n"
	network := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.7.0.0/16")}
	for name, tt := range map[string]struct {
		text     string
		node     string
		networks []netip.Prefix
		want     bool
	}{
		"no gateway":                       {pairText, "dr1", network, false},
		"a gateway on the network":         {pairText + gateway, "dr1", network, true},
		"networks are not known":           {pairText + gateway, "dr1", nil, true},
		"a gateway somewhere else":         {pairText + strings.Replace(gateway, "10.0.0.1", "10.9.0.1", 1), "dr1", network, false},
		"an interface that is missing":     {pairText + gateway, "dr1", network[1:], true},
		"missing, and not the gateway's":   {pairText + strings.Replace(gateway, "10.0.0.1", "10.7.0.1", 1), "dr1", network[1:], false},
		"a gateway on no link's network":   {pairText + strings.Replace(gateway, "10.0.0.1", "10.7.0.1", 1), "dr1", network, false},
		"a stranger believes the file":     {pairText + gateway, "", network[1:], true},
		"not wanted":                       {strings.Replace(pairText, "[cluster]", "[cluster]\nrelay = false", 1) + gateway, "dr1", network, false},
		"wanted":                           {strings.Replace(pairText, "[cluster]", "[cluster]\nrelay = true", 1) + gateway, "dr1", network[1:], true},
		"two gateways, one on the network": {pairText + "[fence]\ngateway = ['10.9.0.1', '10.0.0.1']\n", "dr1", network, true},
	} {
		t.Run(name, func(t *testing.T) {
			key := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(key, []byte(heartbeat.NewKey()), 0o600); err != nil {
				t.Fatal(err)
			}
			host := testHost()
			host.Node, host.Networks = tt.node, tt.networks
			site, err := Load(siteFile(t, strings.Replace(tt.text, "[cluster]", "[cluster]\nkey_file = '"+key+"'", 1)), host)
			if err != nil {
				t.Fatal(err)
			}
			if site.Cluster.Relay != tt.want {
				t.Errorf("relay is %t, want %t", site.Cluster.Relay, tt.want)
			}
			why := map[bool]string{true: "there is no gateway", false: "on no network of this node"}[len(site.Cluster.Gateways) == 0]
			if g := site.Cluster.relayGuard(); g.Live != tt.want || !g.Live && !strings.Contains(g.Detail, why) {
				t.Errorf("the guard is %+v, want it to say %q if it is off", g, why)
			}
		})
	}
}

// TestAlone: a single director runs every group, needs no key and no watch, and takes
// the lease from its address.
func TestAlone(t *testing.T) {
	site := load(t, siteFile(t, `[[group]]
name = "a"
order = ["director1"]
resource = [{ type = "vip", address = "10.0.0.100", lease = "3s" }, { type = "vip", address = "10.0.0.101", lease = "3s" }]
[fence]
gateway = "10.0.0.1"
all_lost = "release"
watchdog = "/dev/watchdog"
`))
	c := site.Cluster
	if c.Stranger || !c.Alone() || c.Director.Self != "director1" || len(c.Links) != 0 || len(c.KeyFiles) != 0 || c.Relay {
		t.Errorf("cluster %+v", c)
	}
	if got := c.Director.Timings.Lease; got != 3*time.Second {
		t.Errorf("lease %s", got)
	}
	if c.Director.AllLost != director.ReleaseAll || len(c.Gateways) != 1 || c.Watchdog == "" {
		t.Errorf("fence %+v", c)
	}
	for _, g := range c.Guards() {
		if g.Name == "witness" || g.Name == "relay" || g.Name == "stonith" {
			t.Errorf("one director has no use for %s", g.Name)
		}
	}
	if site := load(t, "testdata/valid/minimal.toml"); site.Cluster != nil || site.Watches[0].Owner != "" {
		t.Errorf("without [cluster] and [[group]] there is %+v", site.Cluster)
	}
}

func TestDigest(t *testing.T) {
	digest := func(text string, node string) string {
		host := testHost()
		host.Node = node
		site, err := Load(siteFile(t, text), host)
		if err != nil {
			t.Fatal(err)
		}
		return site.Cluster.Director.Digest
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(heartbeat.NewKey()), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(pairText, "[cluster]", "[cluster]\nkey_file = '"+key+"'", 1)
	first := digest(text, "dr1")
	if other := digest(text+"[log]\nlevel = 'debug'\n", "DR2.example.org"); other != first {
		t.Error("two nodes of one configuration disagree")
	}
	if other := digest(pairText, ""); other != first {
		t.Error("another key file is another configuration")
	}
	if other := digest(strings.Replace(text, "10.0.0.100", "10.0.0.101", 1), "dr1"); other == first {
		t.Error("another address is the same configuration")
	}
}

// TestFixed: what a reload may change, and what it may not.
func TestFixed(t *testing.T) {
	const service = `
[[virtual]]
name = "shop"
address = "10.0.0.100:80"
real = [{ host = "10.0.0.21" }]
`
	load := func(more string) (digest, fixed string) {
		site := load(t, siteFile(t, pairText+more))
		return site.Cluster.Director.Digest, site.Cluster.Fixed
	}
	digest, fixed := load(service)
	for name, tt := range map[string]struct {
		more        string
		same, fixed bool
	}{
		"the same":        {service, true, true},
		"another server":  {strings.Replace(service, "10.0.0.21", "10.0.0.22", 1), false, true},
		"a scheduler":     {service + "scheduler = 'rr'\n", false, true},
		"another name":    {strings.Replace(service, "shop", "mail", 1), false, true},
		"another address": {strings.Replace(service, "100:80", "100:81", 1), false, true},
		"one more":        {service + strings.NewReplacer("shop", "mail", "100:80", "100:25").Replace(service), false, true},
		"none":            {"", false, true},
		"another fence":   {service + "[fence]\ngateway = '10.0.0.1'\n", false, false},
		"another log":     {service + "[log]\nlevel = 'debug'\n", true, true},
		"one more group":  {service + "[[group]]\nname = 'more'\nresource = [{ type = 'vip', address = '10.0.0.103' }]\n", false, false},
	} {
		d, f := load(tt.more)
		if (d == digest) != tt.same || (f == fixed) != tt.fixed {
			t.Errorf("%s: the digest is the same: %t, want %t; what is fixed is the same: %t, want %t", name, d == digest, tt.same, f == fixed, tt.fixed)
		}
	}
}

func TestGuards(t *testing.T) {
	states := func(c *Cluster) string {
		var text strings.Builder
		for _, g := range c.Guards() {
			fmt.Fprintf(&text, "%s %t, ", g.Name, g.Live)
			if g.Detail == "" {
				t.Errorf("%s says nothing", g.Name)
			}
		}
		return text.String()
	}
	if got, want := states(load(t, "testdata/valid/groups.toml").Cluster), "lease true, wire true, second link true, relay true, witness true, gateway true, stonith true, watchdog true, "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := states(load(t, siteFile(t, pairText)).Cluster), "lease true, wire true, second link false, relay false, witness false, gateway false, stonith false, watchdog false, "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestThePageSaysHowLongAStartWaits: the numbers on the page are the defaults.
func TestThePageSaysHowLongAStartWaits(t *testing.T) {
	page, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	timings := director.DefaultTimings()
	for _, want := range []string{
		fmt.Sprintf("for `initdead`, %s by default", timings.InitDead),
		fmt.Sprintf("dead after `deadtime`, %s.", timings.Dead),
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("docs/cluster.md does not say %q", want)
		}
	}
}
