package mon

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/migrate/moncf"
)

const heartbeatAlert = "heartbeat.alert"

// A gateway is an address that a director must reach, and the line that says so.
type gateway struct {
	address string
	src     moncf.Source
}

// planGateway makes a gateway of the hosts on whose failure heartbeat is stopped.
func (im *importer) planGateway(group string, s *moncf.Service) {
	for i := range s.Periods {
		p := &s.Periods[i]
		for _, a := range slices.Concat(p.Alerts, p.UpAlerts, p.StartupAlerts, p.AckAlerts, p.DisableAlerts) {
			if isProgram(a, heartbeatAlert) {
				im.gateway(group, s, a)
			}
		}
	}
}

// pings reports whether a service asks what [fence] asks: whether hosts answer pings.
func pings(s *moncf.Service) bool {
	if s.Monitor == nil {
		return false
	}
	name := path.Base(s.Monitor.Program)
	return strings.Contains(name, "ping") || strings.Contains(name, "icmp")
}

func (im *importer) gateway(group string, s *moncf.Service, a moncf.AlertLine) {
	if !pings(s) {
		im.account.change(a.Source, "it stays a call of %s: what is tested here is no gateway by pings, as [fence] does; a director gives up what it holds by \"monitord maintenance\" too", a.Program)
		return
	}
	hosts := im.hosts[group]
	for _, h := range hosts {
		if g, err := netip.ParseAddr(h); err != nil || g.IsLoopback() || g.IsUnspecified() || g.IsMulticast() {
			im.account.change(a.Source, "it stays a call of %s: the host %s of group %s is no address of a gateway; write gateway = [\"ADDRESS\"] into [fence] instead", a.Program, h, group)
			return
		}
	}
	if len(hosts) == 0 {
		im.account.change(a.Source, "it stays a call of %s: the group %s is empty", a.Program, group)
		return
	}
	for _, h := range hosts {
		if !slices.ContainsFunc(im.gateways, func(g gateway) bool { return g.address == h }) {
			im.gateways = append(im.gateways, gateway{h, a.Source})
		}
	}
	why := "the gateway of [fence]: a director that does not reach it gives up what it holds, and takes it again by the rules of its group, without a restart of anything"
	im.replaced[a.Line] = replacement{why: why, period: "[fence] tells its director by pings of its own: its keys pace and failures say how soon, and there is nobody else to tell here"}
}

// fence writes [fence].
func (im *importer) fence() {
	if len(im.gateways) == 0 {
		return
	}
	s := &im.services
	addresses := make([]string, len(im.gateways))
	header := s.add(im.gateways[0].src.Line, "[fence]")
	for i, g := range im.gateways {
		addresses[i] = g.address
	}
	list := s.add(im.gateways[0].src.Line, "gateway = "+quotes(addresses))
	for _, g := range im.gateways {
		im.account.carry(g.src, header, list)
	}
	if len(addresses) > 1 {
		s.add(0, `need = "all"  # mon stopped heartbeat when any of them was gone`)
	}
}
