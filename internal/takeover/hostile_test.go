package takeover

import (
	"context"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/resources"
)

// said collects what is handed over to the machine.
type said struct {
	mu  sync.Mutex
	all []director.What
}

func (s *said) say(w director.What) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, w)
}

// What a Drop has overtaken is answered before it, however fast the kernel is.
func TestDropComesAfterWhatItOvertook(t *testing.T) {
	var s said
	dropped := make(chan struct{})
	l := newLane(Group{Name: "web"}, netif.Boottime, func(w director.What) {
		if _, ok := w.(director.LeaseSet); ok {
			select { // the loop's thread is delayed here
			case <-dropped:
			case <-time.After(100 * time.Millisecond):
			}
		}
		s.say(w)
		if _, ok := w.(director.Dropped); ok {
			close(dropped)
		}
	})
	l.renew(0)
	over := make(chan struct{})
	go func() {
		defer close(over)
		l.drop()
		l.end()
	}()
	for l.poke(); ; { // run begins when the Drop waits
		l.mu.Lock()
		waits := len(l.waiting) == 1 && l.waiting[0].kind == drop
		l.mu.Unlock()
		if waits {
			break
		}
	}
	l.run(t.Context())
	<-over
	if _, first := s.all[0].(director.LeaseSet); !first || len(s.all) != 2 {
		t.Errorf("handed over: %+v", s.all)
	}
}

// A slowAddress waits for the kernel as long as it may.
type slowAddress struct {
	prefix netip.Prefix
	slow   bool
	held   bool
}

func (a *slowAddress) Prefix() netip.Prefix                   { return a.prefix }
func (a *slowAddress) Device(context.Context) (string, error) { return "eth0", nil }
func (a *slowAddress) Take(ctx context.Context, _ time.Duration) (netif.Held, error) {
	if a.slow {
		<-ctx.Done()
		return netif.Held{}, netif.ErrLate
	}
	a.held = true
	return netif.Held{}, nil
}

func (a *slowAddress) Stop(ctx context.Context) error {
	if ctx.Err() == nil {
		a.held = false
	}
	return ctx.Err()
}
func (a *slowAddress) Found(context.Context) (netif.Found, error) { return netif.Found{}, nil }

// When one address came late those before it are taken back at once, though the time
// for the call is over.
func TestLateTakeLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := &slowAddress{prefix: netip.MustParsePrefix("192.0.2.100/32")}
		two := &slowAddress{prefix: netip.MustParsePrefix("192.0.2.101/32"), slow: true}
		l := newLane(Group{Name: "web", Addresses: []Address{one, two}}, func() time.Duration { return 1 }, (&said{}).say)
		l.do(t.Context(), laneJob{kind: take, notAfter: 2})
		if one.held {
			t.Error("an address is left")
		}
	})
}

// The next process adopts what runs: a start that Quit cuts short is not undone.
func TestQuitDuringAStartUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pair(t)
		defer w.endAll()
		one := w.hosts["dr1"]
		one.loop.Quit()
		if err := <-one.over; err != nil {
			t.Error(err)
		}
		one.parts[1].hangs = true // the adopting process starts everything again
		w.start("dr1")
		time.Sleep(300 * time.Millisecond)
		one.loop.Quit()
		if err := <-one.over; err != nil {
			t.Error(err)
		}
		one.loop = nil
		if calls := one.parts[0].calls; calls[len(calls)-1] == "stop" {
			t.Errorf("the table went: %v\n%s", one.parts[0].calls, w.story())
		}
	})
}

// A resource whose state cannot be found out must not hold up a move.
type mute struct{ fakeResource }

func (m *mute) Status(ctx context.Context) (resources.Status, error) {
	<-ctx.Done()
	return resources.Stopped, ctx.Err()
}

func TestStopEndsALookThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s said
		var list []Resource
		for range 3 {
			list = append(list, Resource{Name: "script", Resource: &mute{}, Start: 20 * time.Second, Stop: 20 * time.Second})
		}
		w := &works{
			group: "web", parts: [2][]Resource{director.Before: list}, every: 10 * time.Second, say: s.say, wake: make(chan struct{}, 1),
			ill: func(string) {}, mended: func(string) {},
		}
		go w.run(t.Context())
		w.start(director.Before)
		time.Sleep(11 * time.Second)
		began := time.Now()
		w.stop(director.Before)
		w.end()
		for {
			synctest.Wait()
			s.mu.Lock()
			n := len(s.all)
			s.mu.Unlock()
			if n == 2 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the stop waited %v for the look", took)
		}
	})
}

// A flood of events must not keep the clock from the machine.
func TestFloodDoesNotStopTheClock(t *testing.T) {
	c := director.Config{Self: "dr1", Nodes: []director.Node{{Name: "dr1"}}, Timings: director.DefaultTimings()}
	ticks := make(chan struct{}, 1)
	l := New(Settings{Director: c, Watchdog: func() {
		select {
		case ticks <- struct{}{}:
		default:
		}
	}})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = l.Run(ctx) })
	all.Go(func() {
		for ctx.Err() == nil {
			l.queue.put(queued{news: true, own: func() {
				for began := netif.Boottime(); netif.Boottime()-began < 20*time.Microsecond; {
					runtime.Gosched() // as long as an answer takes
				}
			}})
			runtime.Gosched() // with one processor it would be the flood that stops everything
		}
	})
	for range 20 {
		select {
		case <-ticks:
		case <-time.After(5 * time.Second):
			t.Error("no tick in five seconds")
		}
		if t.Failed() {
			break
		}
	}
	stop()
	all.Wait()
}

// A deafWire does not send what is asked while it is deaf.
type deafWire struct {
	fakeWire
	deaf bool
}

func (w *deafWire) Ask(netif.Question) error {
	if w.deaf {
		return netif.ErrMissing
	}
	return nil
}

// A question that did not go out is not proved by the next one.
func TestQuestionThatWasNotSentProvesNothing(t *testing.T) {
	l := New(Settings{Groups: []Group{{Name: "web", Addresses: []Address{&slowAddress{prefix: netip.MustParsePrefix("192.0.2.100/32")}}}}})
	wire := &deafWire{deaf: true}
	p := l.ports
	p.find(t.Context())
	device := p.byName["eth0"]
	device.wire, device.gateways = wire, []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	p.probe(0, director.Probe{ID: 1})
	wire.deaf = false
	p.probe(0, director.Probe{ID: 2})
	p.sighted(device, netif.Sighting{Kind: netif.Works, ID: p.number})
	for e, ok := l.queue.take(); ok; e, ok = l.queue.take() {
		if w := e.what.(director.WireWorks); w.Probe != 2 {
			t.Errorf("probe %d is proved", w.Probe)
		}
	}
}

// lateAddress knows its device later.
type lateAddress struct {
	slowAddress
	known bool
}

func (a *lateAddress) Device(context.Context) (string, error) {
	if !a.known {
		return "", netif.ErrMissing
	}
	return "eth0", nil
}

// Also when the device of an address is found that carries others already, the machine
// learns that all of the group's are connected now.
func TestAllDevicesAreFoundLater(t *testing.T) {
	one := &slowAddress{prefix: netip.MustParsePrefix("192.0.2.100/32")}
	two := &lateAddress{slowAddress: slowAddress{prefix: netip.MustParsePrefix("2001:db8::100/128")}}
	l := New(Settings{Groups: []Group{{Name: "web", Addresses: []Address{one, two}}}, Wires: fakeWires{&host{}}})
	p := l.ports
	p.look(t.Context())
	if down := p.down(); len(down) != 1 || down[0].Group != "web" || down[0].Up {
		t.Errorf("an address without a device counts as connected: %+v", down)
	}
	p.changed(p.byName["eth0"], netif.Change{Kind: netif.CarrierChange, Index: 1, Carrier: true})
	two.known = true
	p.seek(t.Context())
	if e, _ := l.queue.take(); e.what != (director.Carrier{Group: "web", Up: true}) {
		t.Errorf("handed over: %+v", e.what)
	}
}

// An atAddress is on the device of its name.
type atAddress struct {
	slowAddress
	device string
}

func (a *atAddress) Device(context.Context) (string, error) { return a.device, nil }

// Of two devices one loses its carrier: that is told of the group which uses it. The node
// has lost all when both are down: that comes first, since the fence decides then, and
// nothing moves at once; and last that it has not any more.
func TestCarrierOfOneDevice(t *testing.T) {
	at := func(device, prefix string) []Address {
		return []Address{&atAddress{slowAddress{prefix: netip.MustParsePrefix(prefix)}, device}}
	}
	l := New(Settings{Wires: fakeWires{&host{}}, Groups: []Group{
		{Name: "web", Addresses: at("eth0", "192.0.2.100/32")}, {Name: "back", Addresses: at("eth1", "192.0.2.101/32")}, {Name: "bare"},
	}})
	p := l.ports
	if up := p.look(t.Context()); !up || len(p.down()) != 0 {
		t.Errorf("at the start: %t, %+v", up, p.down())
	}
	down := func(group, device string) director.Carrier {
		return director.Carrier{Group: group, Detail: device + " is missing or has no carrier"}
	}
	for _, step := range []struct {
		device string
		up     bool
		want   []director.What
	}{
		{"eth1", false, []director.What{down("back", "eth1")}},
		{"eth0", false, []director.What{director.Carrier{Detail: "eth0 is missing or has no carrier"}, down("web", "eth0")}},
		{"eth0", true, []director.What{director.Carrier{Group: "web", Up: true}, director.Carrier{Up: true}}},
		{"eth1", true, []director.What{director.Carrier{Group: "back", Up: true}}},
	} {
		p.changed(p.byName[step.device], netif.Change{Kind: netif.CarrierChange, Index: 1, Carrier: step.up})
		var told []director.What
		for e, ok := l.queue.take(); ok; e, ok = l.queue.take() {
			told = append(told, e.what)
		}
		if !slices.Equal(told, step.want) {
			t.Errorf("%s is up: %t: told %+v, want %+v", step.device, step.up, told, step.want)
		}
	}
}

// An address whose device is found later is watched, too.
func TestAddressWhoseDeviceIsFoundLaterIsWatched(t *testing.T) {
	one := &slowAddress{prefix: netip.MustParsePrefix("192.0.2.100/32")}
	two := &lateAddress{slowAddress: slowAddress{prefix: netip.MustParsePrefix("192.0.2.101/32")}}
	l := New(Settings{Groups: []Group{{Name: "web", Addresses: []Address{one, two}}}, Wires: fakeWires{&host{}}})
	p := l.ports
	p.find(t.Context())
	device := p.byName["eth0"]
	wire := &guardedWire{}
	l.o.Wires = guardedWires{fakeWires{&host{}}, wire}
	p.openWire(t.Context(), device)
	two.known = true
	p.find(t.Context())
	if len(wire.guarded) != 2 {
		t.Errorf("guarded are %v", wire.guarded)
	}
	p.sighted(device, netif.Sighting{Kind: netif.Claimed, Address: two.prefix.Addr()})
	p.sighted(device, netif.Sighting{Kind: netif.Claimed, Address: two.prefix.Addr()})
	if n := l.queue.length(); n != 1 {
		t.Errorf("%d claims were handed over, want the first of two at once", n)
	}
	p.changed(device, netif.Change{Kind: netif.AddressGone, Address: two.prefix.Addr()})
	if n := len(l.lanes[0].waiting); n != 1 {
		t.Errorf("%d looks for an address that went", n)
	}
}

type guardedWire struct {
	fakeWire
	guarded []netip.Addr
}

func (w *guardedWire) Guard(all ...netip.Addr) { w.guarded = all }

type guardedWires struct {
	fakeWires
	wire *guardedWire
}

func (w guardedWires) Open(context.Context, string) (Wire, error) { return w.wire, nil }

// A notingWire notes what is asked.
type notingWire struct {
	fakeWire
	asked []netip.Addr
}

func (w *notingWire) Ask(q netif.Question) error {
	w.asked = append(w.asked, q.Addresses...)
	return nil
}

// Parts of the addresses, asked for one after the other, are all of them; and the one that
// was answered for last is in each.
func TestPartsOfAddresses(t *testing.T) {
	var all []Address
	for i := range 100 {
		all = append(all, &slowAddress{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)})
	}
	l := New(Settings{Groups: []Group{{Name: "web", Addresses: all}}, Wires: fakeWires{&host{}}})
	p, wire := l.ports, &notingWire{}
	p.find(t.Context())
	device := p.byName["eth0"]
	device.wire = wire
	round := func() map[netip.Addr]int {
		wire.asked = nil
		for part := range 33 {
			p.probe(0, director.Probe{ID: p.number + 1, Part: part, Parts: 33})
		}
		count := map[netip.Addr]int{}
		for _, a := range wire.asked {
			count[a]++
		}
		return count
	}
	if count := round(); len(count) != 100 || len(wire.asked) != 100 {
		t.Errorf("a round asks for %d addresses, and %d times", len(count), len(wire.asked))
	}
	known := all[41].Prefix().Addr()
	p.probe(0, director.Probe{ID: p.number + 1})
	p.sighted(device, netif.Sighting{Kind: netif.Answered, ID: p.number, Address: known})
	if count := round(); len(count) != 100 || count[known] != 33 || len(wire.asked) != 132 {
		t.Errorf("a round asks for %d addresses, and %d times for the one that was answered for", len(count), count[known])
	}
}

// That one of hundreds of addresses is answered for must reach the machine, whatever else
// is heard meanwhile: each of the answers is a claim to a guarded address, too.
func TestAnswerIsNotCrowdedOut(t *testing.T) {
	var all []Address
	for i := range 300 {
		all = append(all, &slowAddress{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(i % 200)}), 32)})
	}
	l := New(Settings{Groups: []Group{{Name: "web", Addresses: all}}, Wires: fakeWires{&host{}}})
	p := l.ports
	p.find(t.Context())
	device := p.byName["eth0"]
	device.wire = &deafWire{}
	p.probe(0, director.Probe{ID: 1})
	for _, a := range all {
		p.sighted(device, netif.Sighting{Kind: netif.Answered, ID: p.number, Address: a.Prefix().Addr()})
		p.sighted(device, netif.Sighting{Kind: netif.Claimed, Address: a.Prefix().Addr()})
	}
	for range 2 * mostNews {
		l.queue.hear(director.PingAnswered{})
	}
	answers, claims := 0, 0
	for e, ok := l.queue.take(); ok; e, ok = l.queue.take() {
		switch e.what.(type) {
		case director.WireAnswered:
			answers++
		case director.ForeignClaim:
			claims++
		}
	}
	if answers != 1 || claims > 30 {
		t.Errorf("handed over: %d answers, want 1, and %d claims of 300", answers, claims)
	}
}

// Of several addresses that went some are left: they have to be dropped.
func TestSomeOfSeveralAddressesWent(t *testing.T) {
	for name, c := range map[string]struct {
		held [2]bool
		want []director.What
	}{
		"none":  {[2]bool{true, true}, nil},
		"one":   {[2]bool{false, true}, []director.What{director.LeaseGone{Group: "web", Left: true}}},
		"other": {[2]bool{true, false}, []director.What{director.LeaseGone{Group: "web", Left: true}}},
		"all":   {[2]bool{false, false}, []director.What{director.LeaseGone{Group: "web"}}},
	} {
		var s said
		var all []Address
		for i, held := range c.held {
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}), 32)
			all = append(all, &foundAddress{slowAddress{prefix: prefix, held: held}})
		}
		l := newLane(Group{Name: "web", Addresses: all}, netif.Boottime, s.say)
		l.do(t.Context(), laneJob{kind: look})
		if !slices.Equal(s.all, c.want) {
			t.Errorf("%s: handed over %+v, want %+v", name, s.all, c.want)
		}
	}
}

// A foundAddress is found while it is held.
type foundAddress struct{ slowAddress }

func (a *foundAddress) Found(context.Context) (netif.Found, error) {
	return netif.Found{Held: a.held}, nil
}

// A roadless device has no route to a gateway now.
type roadless struct{ fakeWires }

func (roadless) OnLink(context.Context, string, []netip.Addr) []netip.Addr { return nil }

// A device that was removed and is back gets its route a moment after its wire: what is
// asked until then is proved by nothing less than before.
func TestWireOfADeviceThatIsBackIsProvedNoEasier(t *testing.T) {
	one := &slowAddress{prefix: netip.MustParsePrefix("192.0.2.100/32")}
	wires := fakeWires{&host{}}
	l := New(Settings{
		Director: director.Config{Gateways: []string{"192.0.2.1"}},
		Groups:   []Group{{Name: "web", Addresses: []Address{one}}}, Wires: deafWires{wires},
	})
	p := l.ports
	p.find(t.Context())
	device := p.byName["eth0"]
	p.openWire(t.Context(), device)
	p.closeWire(device)
	l.o.Wires = deafWires{roadless{wires}}
	p.openWire(t.Context(), device)
	p.probe(0, director.Probe{ID: 1})
	if e, ok := l.queue.take(); ok {
		t.Errorf("handed over: %+v, before a gateway answered", e.what)
	}
}

// A deafWires has wires that hear nothing.
type deafWires struct{ Wires }

func (deafWires) Open(context.Context, string) (Wire, error) { return &deafWire{}, nil }

// At boot a wide network was there first; the narrower one, where the address belongs, came
// later: there it is asked for, watched and announced from then on.
func TestAddressMovesToTheDeviceWhereItBelongs(t *testing.T) {
	one := &atAddress{slowAddress{prefix: netip.MustParsePrefix("10.7.0.100/32")}, "eth1"}
	l := New(Settings{
		Director: director.Config{Gateways: []string{"10.7.0.1"}},
		Groups:   []Group{{Name: "web", Addresses: []Address{one}}}, Wires: deafWires{fakeWires{&host{}}},
	})
	p := l.ports
	p.look(t.Context())
	wide := p.byName["eth1"]
	p.openWire(t.Context(), wide)
	p.probe(0, director.Probe{ID: 1})
	asked := p.number
	one.device = "eth0"
	for range looksElsewhere - 1 {
		p.seek(t.Context())
	}
	one.device = "eth1" // it was gone for a moment only
	p.seek(t.Context())
	one.device = "eth0"
	for range looksElsewhere {
		if at := p.places[one.prefix.Addr()].port; at != wide {
			t.Errorf("it moves to %s too early", at.device)
		}
		p.seek(t.Context())
	}
	narrow := p.byName["eth0"]
	if narrow == nil {
		t.Fatal("the address stays where it was")
	}
	noting := &notingWire{}
	narrow.wire, narrow.gateways = noting, wide.gateways
	p.sighted(wide, netif.Sighting{Kind: netif.Works, ID: asked})
	p.probe(0, director.Probe{ID: 2})
	if len(noting.asked) != 1 || l.queue.length() != 0 {
		e, _ := l.queue.take()
		t.Errorf("asked for %v where it belongs; handed over: %+v", noting.asked, e.what)
	}
	p.sighted(narrow, netif.Sighting{Kind: netif.Answered, ID: p.number, Address: one.prefix.Addr()})
	if e, _ := l.queue.take(); e.what != (director.WireAnswered{Group: "web", Probe: 2}) {
		t.Errorf("handed over: %+v, want the answer", e.what)
	}
}

// A stuckWires does not get a wire: somebody holds the kernel's lock.
type stuckWires struct {
	fakeWires
	opening chan struct{}
}

func (stuckWires) Carrier(context.Context, string) bool { return false }

func (w stuckWires) Open(ctx context.Context, _ string) (Wire, error) {
	close(w.opening)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A device that is back has its carrier told before its wire is opened, which may take
// longer than an owner has until it lets go for want of the gateway.
func TestCarrierIsToldBeforeTheWireIsOpened(t *testing.T) {
	wires := stuckWires{fakeWires{&host{}}, make(chan struct{})}
	one := &slowAddress{prefix: netip.MustParsePrefix("192.0.2.100/32")}
	l := New(Settings{Groups: []Group{{Name: "web", Addresses: []Address{one}}}, Wires: wires})
	p := l.ports
	p.look(t.Context())
	changes := make(chan netif.Change, 1)
	changes <- netif.Change{Kind: netif.CarrierChange, Index: 1, Carrier: true}
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		p.follow(ctx, p.byName["eth0"], changes)
	}()
	<-wires.opening
	if e, _ := l.queue.take(); e.what != (director.Carrier{Group: "web", Up: true}) {
		t.Errorf("while the wire is opened this was told: %+v", e.what)
	}
	stop()
	<-over
}
