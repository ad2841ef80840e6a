package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/monitord/monitord/internal/lvs"
)

// The machines' numbers: the last octet of their addresses.
const (
	gatewayNumber  = 1
	directorNumber = 11
	webNumber      = 21
	witnessNumber  = 31
	strangerNumber = 41
	observerNumber = 51
	nearNumber     = 61
	clientNumber   = 2 // on its own network

	webs = 3
)

// The networks: 1 the directors' common one, 2 the client's, 3 the second one.
func ip4(network, number int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(6 + network), 0, byte(number)}), 24)
}

// ip6 has the number in hexadecimal digits that read as the decimal ones.
func ip6(network, number int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("fd%02d::%d/64", 6+network, number))
}

// Gateway is the gateway's address on the directors' network.
func Gateway() netip.Addr { return ip4(1, gatewayNumber).Addr() }

// Web is the address of web server 1, 2 or 3.
func Web(number int) netip.Addr { return ip4(1, webNumber-1+number).Addr() }

func (s Settings) withDefaults() (Settings, error) {
	if s.Directors == 0 {
		s.Directors = 2
	}
	if s.Directors < 1 || s.Directors > 9 {
		return s, fmt.Errorf("lab: %d directors, want 1 to 9", s.Directors)
	}
	if !s.Address.IsValid() {
		s.Address = ip4(1, 100).Addr()
	}
	if !ip4(1, 0).Contains(s.Address) && !ip6(1, 0).Contains(s.Address) {
		return s, fmt.Errorf("lab: address %s is in neither %s nor %s", s.Address, ip4(1, 0).Masked(), ip6(1, 0).Masked())
	}
	if s.Group == "" {
		s.Group = "web"
	}
	if s.Binary == "" {
		s.Binary = "/proc/self/exe"
	}
	if s.Args == nil {
		s.Args = func(n Node) []string { return []string{"run", "-c", n.Config(), "--node", n.Name} }
	}
	if s.Config == nil {
		s.Config = s.BuiltIn
	}
	if s.Happened == nil {
		s.Happened = func(Event) {}
	}
	return s, nil
}

// peers are all nodes of the cluster, whose folders are not known here.
func (s Settings) peers() []Node {
	var all []Node
	add := func(name string, number int) {
		n := Node{Name: name, Address: ip4(1, number).Addr()}
		if s.SecondNetwork {
			n.Second = ip4(3, number).Addr()
		}
		all = append(all, n)
	}
	for i := range s.Directors {
		add(fmt.Sprintf("dr%d", i+1), directorNumber+i)
	}
	if s.Witness {
		add("witness", witnessNumber)
	}
	return all
}

// BuiltIn is a node's configuration where none is given: the shared address in front
// of three web servers, which are watched.
func (s Settings) BuiltIn(n Node) string {
	var text strings.Builder
	fmt.Fprintf(&text, "statedir = %q\nsocket = %q\n\n[cluster]\nkey_file = %q\n", n.StateDir(), n.Socket(), n.KeyFile)
	for i, p := range s.peers() {
		addresses := fmt.Sprintf("%q", p.Address)
		if p.Second.IsValid() {
			addresses += fmt.Sprintf(", %q", p.Second)
		}
		what := fmt.Sprintf("priority = %d", 200-100*i)
		if i >= s.Directors {
			what = "witness = true"
		} else if s.Directors > 2 {
			what = fmt.Sprintf("priority = %d", 200-10*i)
		}
		fmt.Fprintf(&text, "  [[cluster.node]]\n  name = %q\n  address = [%s]\n  %s\n", p.Name, addresses, what)
	}
	fmt.Fprintf(&text, "\n[fence]\ngateway = [%q]\n", Gateway())
	fmt.Fprintf(&text, "\n[[group]]\nname = %q\n  [[group.resource]]\n  type = \"lvs\"\n  virtual = [\"shop\"]\n", s.Group)
	fmt.Fprintf(&text, "  [[group.resource]]\n  type = \"vip\"\n  address = %q\n  device = \"eth0\"\n", s.Address)
	text.WriteString(s.pool(n))
	return text.String()
}

// pool is the virtual service with its servers, and the watch that takes them out.
func (s Settings) pool(n Node) string {
	var servers []string
	for i := range webs {
		servers = append(servers, fmt.Sprintf("%q", Web(i+1)))
	}
	return fmt.Sprintf(`
[hostgroups]
web = [%[1]s]

[lvs]
backend = %[4]q

[[virtual]]
name = "shop"
address = %[2]q
real = [{ host = %[3]s }]

[[watch]]
group = "web"
service = "http"
interval = "500ms"
scope = "host"
fall = 2
rise = 2
monitor = { type = "http", port = 80, path = "/healthz", status = "200", timeout = "1s" }
  [[watch.period]]
  alert = [{ type = "ipvs", virtual = "shop" }]
`, strings.Join(servers, ", "), netip.AddrPortFrom(s.Address, 80), strings.Join(servers, " }, { host = "), cmp.Or(n.Backend, lvs.BackendRelay))
}
