package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/fencing"
	"github.com/monitord/monitord/internal/gateway"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/internal/takeover"
	"github.com/monitord/monitord/internal/transition"
	"github.com/monitord/monitord/resources"
)

var clusterDocument = state.Document{Name: "cluster", Version: 1}

const (
	// leavePatience bounds the farewell to the members of the cluster.
	leavePatience = time.Second
	// handOverPatience is how long the end of this daemon waits for the groups to be
	// stopped and taken by others. What hangs for longer is left to the lease.
	handOverPatience = time.Minute
	// watchdogTimeout is what the daemon may stand still before the machine is reset:
	// much longer than the lease, which is over by then.
	watchdogTimeout = 10 * time.Second
)

// A cluster is this director's part in the groups: the loop with all that it needs.
type cluster struct {
	site  *config.Cluster
	log   logrus.FieldLogger
	loop  *takeover.Loop
	beats *heartbeat.Cluster // nil: there are no others
	pings *gateway.Pinger    // nil: no gateway
	dog   watchdog           // nil: none
	begun func()             // has the dog wait for the loop, nobody else; nil: no dog
	tell  *transition.Teller
	news  *newsroom
	// moved is poked when this director takes or loses a group.
	moved chan struct{}
}

// A watchdog resets the machine when the loop stands still; *fencing.Watchdog is one.
type watchdog interface {
	Pet()
	// Err is why it was not kept from resetting the machine the last time.
	Err() error
	Close() error
}

// openCluster makes everything and starts nothing but sockets.
func openCluster(d *daemon) (_ *cluster, err error) {
	site := d.site.Cluster
	warnOfName(d.Log, site, Addresses())
	c := &cluster{site: site, log: d.Log, news: newNewsroom(), moved: make(chan struct{}, 1)}
	var memory takeover.Memory
	recall(d.store, clusterDocument, &memory, d.Log)
	settings := takeover.Settings{
		Director: site.Director, Nodes: nodesOf(site), Wires: takeover.Kernel{}, Memory: memory,
		Notice: c.news.add, Isolate: !site.Alone(),
	}
	if d.store != nil {
		settings.Save = func(m takeover.Memory) error { return d.store.Save(clusterDocument, m) }
	}
	if settings.Groups, err = groupsOf(site); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.closeSockets())
		}
	}()
	if len(site.Gateways) > 0 {
		if c.pings, err = gateway.Open(gateway.Settings{Gateways: site.Gateways}); err != nil {
			return nil, fmt.Errorf("[fence] gateway: %w", err)
		}
		settings.Gateways = c.pings
	}
	if site.Watchdog != "" {
		dog, err := fencing.OpenWatchdog(fencing.WatchdogSettings{Device: site.Watchdog, Timeout: watchdogTimeout})
		if err != nil {
			return nil, fmt.Errorf("[fence] watchdog: %w", err)
		}
		settings.Watchdog = dog.Pet
		c.watch(dog)
		if dog.NoWayOut() {
			d.Log.WithField("timeout", dog.Timeout().String()).Warn("[fence] watchdog: it cannot be stopped (nowayout): when this daemon ends, the machine is reset unless it is started again in time")
		}
	}
	if site.Stonith != nil {
		settings.Stonith = fencing.NewStonith(fencing.Program{Path: site.Stonith.Program, Call: site.Stonith.Call, Timeout: site.Stonith.Timeout}).PowerOff
	}
	incarnation := takeover.NextIncarnation(memory)
	settings.Memory.Incarnation = incarnation
	if !site.Alone() {
		if c.beats, err = openBeats(site, incarnation, d.Version, d.Log); err != nil {
			return nil, err
		}
		settings.Heartbeats = c.beats
	}
	c.loop = takeover.New(settings)
	c.tell = transition.New(transitionAlerts(site), c.told)
	return c, nil
}

// warnOfName says that this machine has no address of the node that it is to be: it may
// come, or the name is another machine's.
func warnOfName(log logrus.FieldLogger, site *config.Cluster, own []netip.Addr) {
	i := slices.IndexFunc(site.Links, func(n heartbeat.Node) bool { return n.Name == site.Director.Self })
	if i < 0 || slices.ContainsFunc(site.Links[i].Links, func(at netip.AddrPort) bool { return slices.Contains(own, at.Addr().WithZone("")) }) {
		return
	}
	log.WithField("node", site.Director.Self).Warn("this machine has no address of the node that it is to be: unless one comes, it is another node")
}

// nodesOf are the nodes with their addresses, as neighbours are known by: without zones.
func nodesOf(site *config.Cluster) []takeover.Node {
	var all []takeover.Node
	for _, n := range site.Links {
		node := takeover.Node{Name: n.Name}
		for _, at := range n.Links {
			if at.IsValid() {
				node.Addresses = append(node.Addresses, at.Addr().WithZone(""))
			}
		}
		all = append(all, node)
	}
	return all
}

// groupsOf are the groups, with what this director would start.
func groupsOf(site *config.Cluster) ([]takeover.Group, error) {
	var all []takeover.Group
	for i, g := range site.Groups {
		group := takeover.Group{Name: g.Name}
		if slices.Contains(site.Director.Holders(site.Director.Groups[i]), site.Director.Self) {
			group.Before, group.After = partOf(g.Before), partOf(g.After)
			for _, r := range g.Addresses {
				a, ok := r.Resource.(takeover.Address)
				if !ok {
					return nil, fmt.Errorf("group %s: %s is an address that cannot be held on a lease", g.Name, r.Name)
				}
				group.Addresses = append(group.Addresses, a)
			}
		}
		all = append(all, group)
	}
	return all, nil
}

func partOf(list []config.Resource) []takeover.Resource {
	var part []takeover.Resource
	for _, r := range list {
		part = append(part, takeover.Resource{Name: r.Name, Resource: r.Resource, Start: r.StartTimeout, Stop: r.StopTimeout})
	}
	return part
}

func transitionAlerts(site *config.Cluster) map[string][]transition.Alert {
	all := map[string][]transition.Alert{}
	for _, g := range site.Groups {
		all[g.Name] = g.Alerts
	}
	return all
}

// openBeats opens the way to the other nodes.
func openBeats(site *config.Cluster, incarnation uint64, version string, log logrus.FieldLogger) (*heartbeat.Cluster, error) {
	keys, err := heartbeat.LoadKeys(site.KeyFiles...)
	if err != nil {
		return nil, fmt.Errorf("[cluster] key_file: %w", err)
	}
	s := heartbeat.Settings{
		Self: site.Director.Self, Nodes: site.Links, LinkNames: site.LinkNames, Keys: keys, Incarnation: incarnation,
		Version: version, Digest: site.Director.Digest, Log: func(l heartbeat.Level, text string) { logBeats(log, l, text) },
	}
	if site.Relay {
		relay, err := openRelay(site)
		if err != nil {
			return nil, fmt.Errorf("[cluster] relay: %w", err)
		}
		if relay != nil {
			s.Relays = []heartbeat.Relay{{Name: relayName, Link: relay}}
		}
	}
	beats, err := heartbeat.Open(s)
	if err != nil {
		for _, r := range s.Relays {
			err = errors.Join(err, r.Link.Close())
		}
		return nil, fmt.Errorf("[cluster]: %w", err)
	}
	return beats, nil
}

func logBeats(log logrus.FieldLogger, l heartbeat.Level, text string) {
	log = log.WithField("part", "heartbeat")
	switch l {
	case heartbeat.Debug:
		log.Debug(text)
	case heartbeat.Info:
		log.Info(text)
	case heartbeat.Warn:
		log.Warn(text)
	case heartbeat.Error:
		log.Error(text)
	}
}

// openRelay opens the way through the gateway that is on the network of one of the
// links; nil if none is, as far as this machine's networks are known.
func openRelay(site *config.Cluster) (*gateway.Relay, error) {
	link, via := relayLink(site, Networks())
	if link < 0 {
		return nil, nil //nolint:nilnil // no relay is no error
	}
	s := gateway.RelaySettings{Gateway: via, Peers: map[string]netip.AddrPort{}}
	for _, n := range site.Links {
		if link >= len(n.Links) || !n.Links[link].IsValid() {
			continue
		}
		// The port next to that of the heartbeats.
		at := netip.AddrPortFrom(n.Links[link].Addr(), n.Links[link].Port()+1)
		if n.Name == site.Director.Self {
			s.Local = at
			continue
		}
		s.Peers[n.Name] = at
	}
	return gateway.OpenRelay(s)
}

// relayLink is the link on whose network a gateway is, -1 if there is none. Where the
// networks are not known yet it is the one whose address is most like the gateway's: the
// same on all nodes, or the two ends would wait for each other at different addresses.
func relayLink(site *config.Cluster, networks []netip.Prefix) (int, netip.Addr) {
	own := slices.IndexFunc(site.Links, func(n heartbeat.Node) bool { return n.Name == site.Director.Self })
	guess, by, best := -1, netip.Addr{}, -1
	for i, at := range site.Links[own].Links {
		for _, via := range site.Gateways {
			// No router forwards to a link-local address.
			if !at.IsValid() || at.Addr().Is4() != via.Is4() || at.Addr().IsLinkLocalUnicast() {
				continue
			}
			known := slices.IndexFunc(networks, func(p netip.Prefix) bool { return p.Contains(at.Addr()) })
			if known >= 0 && networks[known].Contains(via) {
				return i, via
			}
			if like := alike(at.Addr(), via); known < 0 && like > best {
				guess, by, best = i, via, like
			}
		}
	}
	return guess, by
}

// alike is how many of their first bits two addresses of one kind have in common.
func alike(a, b netip.Addr) int {
	others := b.AsSlice()
	for i, octet := range a.AsSlice() {
		if octet != others[i] {
			return 8*i + bits.LeadingZeros8(octet^others[i])
		}
	}
	return 8 * len(others)
}

// told logs what became of a transition's alert.
func (c *cluster) told(d transition.Delivery) {
	log := c.log.WithFields(logrus.Fields{"group": d.Group, "alert": d.Alert, "to": d.Event.To.String()})
	switch {
	case d.Err == nil:
		log.Debug("told of a transition")
	case d.Final:
		log.WithError(d.Err).Error("an alert about a transition was not delivered")
	default:
		log.WithError(d.Err).Warn("an alert about a transition was not delivered, will try again")
	}
}

// run runs the loop and all around it until the groups are handed over, or left to
// the next process; see end.
func (c *cluster) run(ctx context.Context, d *daemon) {
	var parts sync.WaitGroup
	serving, stop := context.WithCancel(ctx)
	parts.Go(func() { c.report(serving, d) })
	parts.Go(func() { c.conditions(serving, d) })
	if c.beats != nil {
		parts.Go(func() { c.share(serving, d) })
	}
	if c.dog != nil {
		c.begun()
		parts.Go(func() { c.mind(serving) })
	}
	err := c.loop.Run(ctx)
	if c.dog != nil {
		// Nobody pets it any more, and alerts may take longer than it waits.
		err = errors.Join(err, c.dog.Close())
	}
	if err != nil {
		c.log.WithError(err).Error("the end of the groups")
	}
	stop()
	parts.Wait()
}

// end has the loop end: by handing over, or by leaving everything for the next
// process. It waits for that for a while.
func (c *cluster) end(leave bool, ended <-chan struct{}) {
	if leave {
		c.loop.Quit()
	} else {
		c.loop.Shutdown()
	}
	select {
	case <-ended:
	case <-time.After(handOverPatience):
		c.log.Error("the groups cannot be handed over; the daemon ends without that, and the kernel ends the leases")
	}
}

// close ends what is left when the loop has ended.
func (c *cluster) close(leave bool, e *engine.Engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	if c.beats != nil {
		c.handOver(e) // what was delivered at the very end
	}
	if c.beats != nil && !leave {
		if err := c.beats.Leave(ctx); err != nil {
			c.log.WithError(err).Debug("farewell to the members")
		}
	}
	if !leave {
		c.tellStopped()
	}
	c.endAlerts()
	return c.closeSockets()
}

// tellStopped tells that this director has no part in its groups any more, as
// keepalived's STOP.
func (c *cluster) tellStopped() {
	for _, g := range c.site.Director.Groups {
		if priority := takeover.Priority(c.site.Director, g); priority > 0 {
			c.tell.Tell(transition.Event{
				Group: g.Name, Node: c.site.Director.Self, From: director.Standby, To: director.Init, Priority: priority,
				Reason: "this daemon ends", At: time.Now(),
			})
		}
	}
}

// endAlerts gives alerts about transitions a last chance; later ones are not sent.
func (c *cluster) endAlerts() {
	ending, done := context.WithTimeout(context.Background(), grace)
	defer done()
	if err := c.tell.Close(ending); err != nil {
		c.log.WithError(err).Warn("alerts about transitions were not delivered")
	}
}

func (c *cluster) closeSockets() error {
	var errs []error
	if c.beats != nil {
		errs = append(errs, c.beats.Close())
	}
	if c.pings != nil {
		errs = append(errs, c.pings.Close())
	}
	if c.dog != nil {
		c.begun()
		errs = append(errs, c.dog.Close())
	}
	return errors.Join(errs...)
}

// watch pets a watchdog until the loop does: it waits from the moment it is opened, and to
// make hundreds of virtual services ready may take a busy machine longer than it waits.
// Nothing is held before the loop begins.
func (c *cluster) watch(dog watchdog) {
	stop, ended := make(chan struct{}), make(chan struct{})
	c.dog, c.begun = dog, sync.OnceFunc(func() { close(stop); <-ended })
	go func() {
		defer close(ended)
		every := time.NewTicker(watchdogTimeout / 8)
		defer every.Stop()
		for {
			dog.Pet()
			select {
			case <-every.C:
			case <-stop:
				return
			}
		}
	}()
}

// mind tells of a watchdog that cannot be written to, while the machine still runs.
func (c *cluster) mind(ctx context.Context) {
	every := time.NewTicker(watchdogTimeout / 10)
	defer every.Stop()
	said := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		err := c.dog.Err()
		switch {
		case err != nil && !said:
			c.log.WithError(err).Error("the machine is about to be reset")
		case err == nil && said:
			c.log.Info("the watchdog is written to again")
		}
		said = err != nil
	}
}

// governed are the virtual services that belong to groups, each with its group.
func governed(site *config.Site) map[string]string {
	all := map[string]string{}
	if site.Cluster == nil {
		return all
	}
	for _, g := range site.Cluster.Groups {
		for _, r := range slices.Concat(g.Before, g.After) {
			governor, ok := r.Resource.(resources.Governor)
			if !ok {
				continue
			}
			names := governor.Governs()
			if len(names) == 0 {
				for _, v := range site.Virtuals {
					names = append(names, v.Name)
				}
			}
			for _, name := range names {
				all[name] = g.Name
			}
		}
	}
	return all
}

// isWitness tells whether this node only votes.
func isWitness(site *config.Site) bool {
	if site.Cluster == nil {
		return false
	}
	c := site.Cluster.Director
	return slices.ContainsFunc(c.Nodes, func(n director.Node) bool { return n.Name == c.Self && n.Witness })
}
