package takeover

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/gateway"
	"github.com/monitord/monitord/internal/heartbeat"
	"github.com/monitord/monitord/internal/netif"
)

// endPatience bounds the end, in which nobody pets the watchdog: what hangs then (a disk, a script that ignores signals)
// is left behind.
const endPatience = 5 * time.Second

// A Loop runs the machine. Its methods may be called by any goroutine.
type Loop struct {
	o     Settings
	queue *queue
	lanes []*lane
	works []*works
	disk  *disk
	ports *ports
	ended chan struct{}

	// What follows belongs to the loop's goroutine.

	state      director.State
	exit       bool // Exit was due
	conditions []map[string]string
	fit        []bool // as it was handed over
	carriers   map[string]bool
	nodes      map[string]*heard
	owned      []ownership
	rivals     []rivalry // by group
	gaps       gaps
	isolation  string            // how the loop is kept from waiting for others
	ordered    *[]string         // collects what is told about an operator's command
	stonith    func(node string) // starts one
}

// New prepares a loop; Run runs it.
func New(o Settings) *Loop {
	if o.StatusEvery <= 0 {
		o.StatusEvery = 10 * time.Second
	}
	if o.Boottime == nil {
		o.Boottime = netif.Boottime
	}
	if o.Notice == nil {
		o.Notice = func(Notice) {}
	}
	if o.Watchdog == nil {
		o.Watchdog = func() {}
	}
	l := &Loop{
		o: o, queue: newQueue(), ended: make(chan struct{}),
		conditions: make([]map[string]string, len(o.Groups)), fit: make([]bool, len(o.Groups)),
		carriers: map[string]bool{}, nodes: map[string]*heard{}, owned: make([]ownership, len(o.Groups)), rivals: make([]rivalry, len(o.Groups)),
	}
	l.disk = newDisk(o.Save, o.Memory, l.queue.say)
	for i, g := range o.Groups {
		l.conditions[i], l.fit[i] = map[string]string{}, true
		l.lanes = append(l.lanes, newLane(g, o.Boottime, l.queue.say))
		l.works = append(l.works, l.newWorks(i))
	}
	l.ports = newPorts(l)
	return l
}

func (l *Loop) newWorks(i int) *works {
	g := l.o.Groups[i]
	return &works{
		group: g.Name, parts: [2][]Resource{director.Before: g.Before, director.After: g.After},
		every: l.o.StatusEvery, say: l.queue.say, wake: make(chan struct{}, 1), soon: make(chan struct{}, 1),
		ill: func(detail string) {
			l.queue.call(func() { l.condition(i, "its resources", detail) })
		},
		mended: func(detail string) {
			l.queue.call(func() { l.remark(i, director.Reason{Code: director.ReasonRepaired, Detail: detail}) })
		},
	}
}

// NextIncarnation is the number of a process that starts now, after the one that left
// the memory: higher also where the clock went back.
func NextIncarnation(m Memory) uint64 {
	return max(m.Incarnation+1, uint64(time.Now().UnixNano()))
}

// Run runs until the machine says that nothing is left to do, after Shutdown or Quit.
// The end of ctx ends it at once, and leaves everything as it is: the kernel ends
// the leases.
func (l *Loop) Run(ctx context.Context) error {
	defer close(l.ended)
	// What is under way ends with Run, not with ctx: results are waited for.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var owned, asked sync.WaitGroup
	owned.Go(l.disk.run)
	for i := range l.lanes {
		owned.Go(func() { l.lanes[i].run(working) })
		owned.Go(func() { l.works[i].run(working) })
	}
	l.stonith = func(node string) { asked.Go(func() { l.powerOff(working, node) }) }
	carrier := l.ports.look(ctx) // before it is watched: what comes then is newer
	l.ports.open(working)
	var listening sync.WaitGroup
	listening.Go(func() { l.listen(working) })
	l.turn(ctx, carrier)
	for i := range l.lanes {
		l.lanes[i].end()
		l.works[i].end()
	}
	l.disk.end()
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer done()
	err := wait(patience, &owned)
	stop()
	l.ports.stop()
	listening.Wait()
	return cmp.Or(err, wait(patience, &l.ports.devices), wait(patience, &asked))
}

var errLeftBehind = errors.New("something hangs and is left behind: a disk, a resource or the kernel")

func wait(ctx context.Context, group *sync.WaitGroup) error {
	all := make(chan struct{})
	go func() {
		group.Wait()
		close(all)
	}()
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return errLeftBehind
	}
}

// turn is the loop itself, on a thread of its own.
func (l *Loop) turn(ctx context.Context, carrier bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if l.o.Isolate {
		var undo func()
		l.isolation, undo = isolate()
		defer undo()
	}
	l.begin(ctx, carrier)
	tick := time.NewTicker(l.o.Director.Timings.Tick)
	defer tick.Stop()
	for !l.exit && ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-l.queue.wake:
			l.drain()
		case <-tick.C:
			// What waits may say otherwise than the clock.
			l.drain()
			l.step(director.Tick{})
			l.o.Watchdog()
		}
	}
}

// drain hands over what waits, and not what comes meanwhile: a flood must not keep the
// clock from being looked at.
func (l *Loop) drain() {
	for range l.queue.length() {
		e, ok := l.queue.take()
		switch {
		case !ok || l.exit:
			return
		case e.own != nil:
			e.own()
		default:
			l.step(e.what)
		}
	}
}

// begin starts the machine with what is found here.
func (l *Loop) begin(ctx context.Context, carrier bool) {
	r := director.Restored{Incarnation: l.o.Memory.Incarnation, Epochs: l.o.Memory.Epochs, Maintenance: l.o.Memory.Maintenance}
	state, actions := director.Start(l.o.Director, r, l.now())
	l.state = state
	l.perform(actions)
	l.step(director.Carrier{Up: carrier})
	for _, down := range l.ports.down() {
		l.step(down)
	}
	var mine []Group
	for i, g := range l.o.Director.Groups {
		if l.mayHold(g) {
			mine = append(mine, l.o.Groups[i])
		}
	}
	for _, f := range left(ctx, mine) {
		l.step(f)
	}
}

func (l *Loop) now() director.Instant { return director.Instant(l.o.Boottime()) }

func (l *Loop) mayHold(g director.Group) bool {
	return slices.Contains(l.o.Director.Holders(g), l.o.Director.Self)
}

// step hands over one event.
func (l *Loop) step(what director.What) {
	now := l.now()
	l.gaps.at(time.Duration(now), l.o.Director.Timings.Gap)
	switch e := what.(type) {
	case director.Heard:
		l.note(e.Message, now)
	case director.WireAnswered:
		l.owned[l.index(e.Group)] = ownership{true, now} // its owner's kernel goes on
	}
	state, actions := director.Step(l.o.Director, l.state, director.Event{At: now, What: what})
	l.state = state
	l.perform(actions)
}

// perform carries out the actions of a step, in their order. None of them waits.
func (l *Loop) perform(actions []director.Action) {
	for _, action := range actions {
		l.act(action)
	}
}

func (l *Loop) act(action director.Action) {
	switch a := action.(type) {
	case director.Send:
		l.send(a)
	case director.Ping:
		l.ping(a.Gateway)
	case director.Probe:
		l.ports.probe(l.index(a.Group), a)
	case director.Announce:
		l.ports.announce(l.index(a.Group))
	case director.Save:
		l.disk.epoch(a.Group, a.Epoch)
	case director.SaveMaintenance:
		l.disk.maintenance(a.On)
	case director.StartPart:
		l.works[l.index(a.Group)].start(a.Part)
	case director.StopPart:
		l.works[l.index(a.Group)].stop(a.Part)
	case director.Take:
		l.lanes[l.index(a.Group)].take(a.NotAfter)
	case director.Renew:
		l.lanes[l.index(a.Group)].renew(a.NotAfter)
	case director.Drop:
		l.ports.hush(l.index(a.Group))
		l.lanes[l.index(a.Group)].drop()
	case director.PowerOff:
		l.stonith(a.Node)
	case director.Flush:
		l.flush()
	case director.Exit:
		l.exit = true
	case director.Tell:
		l.tell(a.Notice)
	}
}

// index is a group's; the machine speaks of groups of its configuration only.
func (l *Loop) index(group string) int {
	for i := range l.o.Groups {
		if l.o.Groups[i].Name == group {
			return i
		}
	}
	panic("takeover: the machine names a group that it was not given: " + group)
}

// send does not say that a message was lost: silence is what the machine counts.
func (l *Loop) send(a director.Send) {
	switch {
	case l.o.Heartbeats == nil:
	case a.To == "":
		_ = l.o.Heartbeats.Broadcast(a.Message)
	default:
		_ = l.o.Heartbeats.Send(a.To, a.Message)
	}
}

// ping that cannot be sent is one that is not answered.
func (l *Loop) ping(gateway string) {
	if a, err := netip.ParseAddr(gateway); err == nil && l.o.Gateways != nil {
		_ = l.o.Gateways.Ping(a, l.o.Boottime())
	}
}

// gateways are those that the fence asks.
func (l *Loop) gateways() []netip.Addr {
	var all []netip.Addr
	for _, text := range l.o.Director.Gateways {
		if a, err := netip.ParseAddr(text); err == nil { // the configuration has checked it
			all = append(all, a)
		}
	}
	return all
}

func (l *Loop) flush() {
	l.queue.flush()
	l.ports.flush()
	if l.o.Heartbeats != nil {
		l.o.Heartbeats.Flush()
	}
	if l.o.Gateways != nil {
		l.o.Gateways.Flush()
	}
}

// listen passes on what the others and the gateways say.
func (l *Loop) listen(ctx context.Context) {
	var messages <-chan heartbeat.Received
	var answers <-chan gateway.Answer
	if l.o.Heartbeats != nil {
		messages = l.o.Heartbeats.Received()
	}
	if l.o.Gateways != nil {
		answers = l.o.Gateways.Answers()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-messages:
			l.queue.hear(director.Heard{Link: m.Link, Message: m.Message})
		case a, ok := <-answers:
			if !ok {
				answers = nil
				continue
			}
			l.queue.hear(director.PingAnswered{Gateway: a.Gateway.String(), Sent: director.Instant(a.Sent)})
		}
	}
}

func (l *Loop) powerOff(ctx context.Context, node string) {
	err := errNoStonith
	if l.o.Stonith != nil {
		err = l.o.Stonith(ctx, node)
	}
	l.queue.say(director.StonithDone{Node: node, OK: err == nil, Detail: text(err)})
}

var errNoStonith = errors.New("there is no stonith device")

// Shutdown hands over everything; Run returns then.
func (l *Loop) Shutdown() { l.queue.say(director.Shutdown{}) }

// Quit leaves everything where it is for the next process; Run returns then.
func (l *Loop) Quit() { l.queue.say(director.Quit{}) }

// Condition says whether something that a group needs is as it should be here: an
// interface, a watch. An empty detail is good; all groups if the group is empty.
func (l *Loop) Condition(group, name, detail string) {
	l.queue.call(func() {
		for i := range l.o.Groups {
			if group == "" || group == l.o.Groups[i].Name {
				l.condition(i, name, detail)
			}
		}
	})
}

// condition hands over all conditions of a group, if what they say is new.
func (l *Loop) condition(i int, name, detail string) {
	before := l.conditions[i][name]
	if detail == before {
		return
	}
	if detail == "" {
		delete(l.conditions[i], name)
	} else {
		l.conditions[i][name] = detail
	}
	l.step(director.Require{Group: l.o.Groups[i].Name, OK: len(l.conditions[i]) == 0, Detail: joined(l.conditions[i])})
}
