package mon

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/monitord/monitord/internal/migrate/moncf"
)

// A replacement is what a line of alerts becomes instead of a program.
type replacement struct {
	// action is the alert in TOML; "" if the line has none of its own.
	action string
	why    string
	// period is why a period with no other alerts has no place.
	period string
}

// A virtual is a virtual service that lines of lvs.alert name.
type virtual struct {
	protocol string
	address  netip.AddrPort
	servers  []server
}

func (v *virtual) name() string {
	if v.protocol == "tcp" {
		return v.address.String()
	}
	return v.address.String() + "/" + v.protocol
}

// A server is a real server of a virtual service.
type server struct {
	address netip.Addr
	port    uint16 // 0: the virtual service's
	weight  int
	forward string
	src     moncf.Source
}

func (s server) same(t server) bool { return s.address == t.address && s.port == t.port }

// A move is what a line of lvs.alert does.
type move struct {
	protocol string
	virtual  netip.AddrPort
	server   server
}

const lvsAlert = "lvs.alert"

// plan decides which lines of alerts become something else than a program.
func (im *importer) plan() {
	for i := range im.file.Watches {
		w := &im.file.Watches[i]
		for j := range w.Services {
			im.planServers(w.Group, &w.Services[j])
			im.planGateway(w.Group, &w.Services[j])
		}
	}
}

func isProgram(a moncf.AlertLine, name string) bool { return path.Base(a.Program) == name }

// planServers makes real servers of a service's lines of lvs.alert.
func (im *importer) planServers(group string, s *moncf.Service) {
	moved := map[string]bool{} // by virtual service and server
	follows := map[string]int{}
	for i := range s.Periods {
		for _, a := range s.Periods[i].Alerts {
			if !isProgram(a, lvsAlert) {
				continue
			}
			m, err := im.moveOf(group, a)
			if err != nil {
				im.keepMoving(a, err)
				continue
			}
			im.follow(follows, a, m)
			moved[m.key()] = true
		}
	}
	for i := range s.Periods {
		p := &s.Periods[i]
		for _, a := range slices.Concat(p.UpAlerts, p.StartupAlerts, p.AckAlerts, p.DisableAlerts) {
			if isProgram(a, lvsAlert) {
				im.planReturn(group, a, moved, slices.ContainsFunc(p.UpAlerts, func(u moncf.AlertLine) bool { return u.Line == a.Line }))
			}
		}
	}
}

// follow has the pool of a virtual service follow the watch.
func (im *importer) follow(follows map[string]int, a moncf.AlertLine, m move) {
	v := im.virtual(m)
	why := fmt.Sprintf("the alert ipvs has virtual service %s follow who is up, both ways; of its period only alertafter concerns it: not the time, alertevery, numalerts or an ack, by which a dead server could stay in", v.name())
	r := replacement{why: why, action: "{ type = \"ipvs\", virtual = " + quote(v.name()) + " }"}
	if before, twice := follows[v.name()]; twice {
		r.action = ""
		r.why = fmt.Sprintf("the alert ipvs in line %d takes care of all servers of the virtual service", im.src.line(before))
		r.period = r.why
	} else {
		follows[v.name()] = a.Line
	}
	im.replaced[a.Line] = r
	if !slices.ContainsFunc(v.servers, m.server.same) {
		m.server.src = a.Source
		v.servers = append(v.servers, m.server)
	}
}

func (m move) key() string {
	return fmt.Sprint(m.protocol, m.virtual, m.server.address, m.server.port)
}

// planReturn takes a line that puts a server back.
func (im *importer) planReturn(group string, a moncf.AlertLine, moved map[string]bool, up bool) {
	m, err := im.moveOf(group, a)
	switch {
	case err != nil:
		im.keepMoving(a, err)
		return
	case !moved[m.key()] || !up:
		im.account.change(a.Source, "it is called as a program: no alert of this service takes the same server out")
		return
	}
	why := "the alert ipvs puts the server back by itself"
	im.replaced[a.Line] = replacement{why: why, period: why}
	v := im.virtual(m)
	i := slices.IndexFunc(v.servers, m.server.same)
	if s := &v.servers[i]; !slices.ContainsFunc(v.servers[:i], m.server.same) {
		// ipvsadm -a got its weight and method from this line.
		s.weight, s.forward = m.server.weight, m.server.forward
	}
}

// keepMoving leaves a line to its program, and says why.
func (im *importer) keepMoving(a moncf.AlertLine, err error) {
	im.account.change(a.Source, "it stays a call of %s: %v; the director's table is monitord's only where ipvs alerts fill it", a.Program, err)
}

func (im *importer) virtual(m move) *virtual {
	v := &virtual{protocol: m.protocol, address: m.virtual}
	if known := im.virtualOf[v.name()]; known != nil {
		return known
	}
	im.virtualOf[v.name()] = v
	im.virtuals = append(im.virtuals, v)
	return v
}

// moveOf reads the arguments as lvs.alert does, whose options all but -u have a
// value.
func (im *importer) moveOf(group string, a moncf.AlertLine) (move, error) {
	if a.Unbalanced || a.Exit != nil {
		return move{}, fmt.Errorf("it has an exit status or a quote without its fellow")
	}
	options := getopts(a.Args)
	m := move{protocol: "udp"} // lvs.alert's word for all but tcp
	if options['P'] == "tcp" {
		m.protocol = "tcp"
	}
	var err error
	if m.virtual, err = endpoint(options['V'], m.protocol); err != nil || m.virtual.Port() == 0 {
		return m, fmt.Errorf("-V %q is no address with a port", options['V'])
	}
	server, err := endpoint(options['R'], m.protocol)
	if err != nil {
		return m, fmt.Errorf("-R %q is no address", options['R'])
	}
	m.server = serverOf(server, options['F'], m.virtual.Port())
	if m.server.weight, err = weight(options['W']); err != nil {
		return m, err
	}
	if !im.tests(group, server) {
		return m, fmt.Errorf("-R %s is no host of the group %s as it is written there", options['R'], group)
	}
	return m, nil
}

func serverOf(a netip.AddrPort, forward string, port uint16) server {
	s := server{address: a.Addr(), port: a.Port(), forward: "dr"}
	switch forward {
	case "nat", "tun":
		s.forward = forward
	}
	if s.port == port || s.forward != "nat" { // only nat can change the port
		s.port = 0
	}
	return s
}

func weight(text string) (int, error) {
	if text == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("-W %q is no weight", text)
	}
	return int(n), nil
}

// getopts reads options as Getopt::Std does with "s:g:h:t:l:P:V:R:W:F:u".
func getopts(args []string) map[byte]string {
	options := map[byte]string{}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		letter, rest := args[0][1], args[0][2:]
		args = args[1:]
		switch {
		case strings.IndexByte("sghtlPVRWF", letter) < 0:
			if rest != "" {
				args = append([]string{"-" + rest}, args...)
			}
			continue
		case rest != "":
			options[letter] = rest
		case len(args) > 0:
			options[letter], args = args[0], args[1:]
		}
	}
	return options
}

// endpoint reads an address, with a port or a service's name or without.
func endpoint(text, protocol string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 0), nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		named, lookup := net.LookupPort(protocol, port) // /etc/services, as ipvsadm does
		if lookup != nil {
			return netip.AddrPort{}, lookup
		}
		n = uint64(named)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// tests reports whether the group has the server as a host: the pool follows hosts by
// what they are called in the group.
func (im *importer) tests(group string, server netip.AddrPort) bool {
	return slices.ContainsFunc(im.hosts[group], func(h string) bool {
		a, err := netip.ParseAddr(strings.Trim(h, "[]"))
		if err == nil {
			return a.Unmap() == server.Addr()
		}
		with, err := netip.ParseAddrPort(h)
		return err == nil && with.Addr().Unmap() == server.Addr() && (server.Port() == 0 || with.Port() == server.Port())
	})
}

// virtualServices writes a [[virtual]] for each.
func (im *importer) virtualServices() {
	if len(im.virtuals) == 0 {
		return
	}
	s := &im.services
	if len(s.rows) > 0 {
		s.add(0, "")
	}
	s.add(0, "[lvs]")
	s.add(0, `backend = "kernel"  # whose table lvs.alert changed by ipvsadm`)
	for _, v := range im.virtuals {
		s.add(0, "")
		from := v.servers[0].src
		add := func(format string, args ...any) {
			im.account.carry(from, s.add(from.Line, fmt.Sprintf(format, args...)))
		}
		add("[[virtual]]")
		add("name = %s", quote(v.name()))
		add("address = %s", quote(v.address.String()))
		if v.protocol != "tcp" {
			add("protocol = %s", quote(v.protocol))
		}
		add(`start = "up"  # a server is in until it fails, as with lvs.alert; "ipvsadm -A" said which scheduler: set it here`)
		if v.sameForward() {
			add("forward = %s", quote(v.servers[0].forward))
		}
		add("real = [")
		for _, r := range v.servers {
			im.account.carry(r.src, s.add(r.src.Line, "  "+r.toml(v.sameForward())+","))
		}
		add("]")
	}
}

func (v *virtual) sameForward() bool {
	return !slices.ContainsFunc(v.servers, func(s server) bool { return s.forward != v.servers[0].forward })
}

func (s server) toml(sameForward bool) string {
	parts := []string{"host = " + quote(s.address.String())}
	if s.port != 0 {
		parts = append(parts, fmt.Sprintf("port = %d", s.port))
	}
	parts = append(parts, fmt.Sprintf("weight = %d", s.weight))
	if !sameForward {
		parts = append(parts, "forward = "+quote(s.forward))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}
