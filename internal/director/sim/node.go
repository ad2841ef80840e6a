package sim

import (
	"maps"
	"slices"

	"github.com/monitord/monitord/internal/director"
)

// A node is a host: its clock, its kernel, its disk, its resources, and the
// process of the daemon that runs on it, if one does.
type node struct {
	w      *World
	id     int
	name   string
	config director.Config

	powered, paused bool
	booted          Time // when, in the world's time
	offset          Time // what the clock showed then
	drift           int64
	addresses       [][]address // by group
	parts           [][2]part
	disk            disk

	process  int // counts processes; what an earlier one began does not end
	running  bool
	machine  Machine
	draining bool // there are queued events to handle
	frozen   int  // by how many faults that are on
	// freezing strikes in the middle of the next renewal.
	freezing *happening
	// halfway strikes between two addresses of what is done next with several.
	halfway *happening
	inbox   []director.What
	parked  []func()
	crash   int // actions still done before the process dies; negative: it does not
	lanes   []lane
	work    []lane // of parts
	exiting bool
	started Time
	// heardEpochs are the highest ones of messages that reached this process.
	// takeEpochs are those when an address was last asked for: what is heard while the
	// kernel does it comes too late for that claim.
	heardEpochs, takeEpochs []uint64
	shown                   []uint64
	// known is which address of each group was answered for last; claimed is when a claim
	// to one of its addresses was handed over last.
	known      []int
	claimed    []Time
	maintained bool
	tick       func()
}

// A disk holds what survives.
type disk struct {
	epochs, certain map[string]uint64 // as written; and as it will be after a crash while the disk forgets
	maintenance     bool
	incarnation     uint64
}

func newNode(w *World, id int) *node {
	groups := len(w.setup.Groups)
	n := &node{
		w: w, id: id, name: w.setup.nodeName(id), config: w.setup.Config(id), crash: -1,
		addresses: make([][]address, groups), parts: make([][2]part, groups),
		disk: disk{epochs: map[string]uint64{}},
	}
	for i := range groups {
		n.addresses[i] = make([]address, w.setup.addresses(i))
	}
	n.config.Without = w.options.Without
	if w.setup.Stranded && w.rng.IntN(2) == 0 {
		for i := range groups {
			n.disk.epochs[groupName(i)] = uint64(w.rng.IntN(8))
		}
	}
	n.disk.incarnation = uint64(w.rng.IntN(100))
	if w.setup.Drift > 0 {
		n.drift = int64(w.rng.IntN(2*w.setup.Drift+1) - w.setup.Drift)
	}
	return n
}

// clock is CLOCK_BOOTTIME.
func (n *node) clock() director.Instant {
	d := n.w.now - n.booted
	return director.Instant(n.offset + d + d*Time(n.drift)/1_000_000)
}

// boot the host, with nothing of any group on it.
func (n *node) boot() {
	if n.powered {
		return
	}
	n.powered = true
	n.booted = n.w.now
	n.offset = Time(1+n.w.rng.IntN(100_000)) * ms
	clear(n.parts)
	n.start()
}

// off takes the power away.
func (n *node) off() {
	n.die()
	n.powered, n.paused = false, false
	for i := range n.addresses {
		for k := range n.addresses[i] {
			n.remove(i, k)
		}
	}
	clear(n.parts)
}

// start a process.
func (n *node) start() {
	if n.running || !n.powered {
		return
	}
	if n.paused {
		n.w.after(50*ms, n.start)
		return
	}
	n.process++
	n.running, n.exiting, n.crash = true, false, -1
	n.started = n.w.now
	n.inbox, n.parked, n.draining = nil, nil, false
	n.lanes = make([]lane, len(n.parts))
	n.work = make([]lane, len(n.parts))
	n.heardEpochs = make([]uint64, len(n.parts))
	n.takeEpochs = make([]uint64, len(n.parts))
	n.shown = make([]uint64, len(n.parts))
	n.known = slices.Repeat([]int{-1}, len(n.parts))
	n.claimed = slices.Repeat([]Time{-claimPause}, len(n.parts))
	n.disk.incarnation++
	n.w.log("%s starts", n.name)
	r := director.Restored{Incarnation: n.disk.incarnation, Epochs: maps.Clone(n.disk.epochs), Maintenance: n.disk.maintenance}
	n.maintained = n.disk.maintenance
	machine, actions := n.w.options.Make(n.config, r, n.clock())
	n.machine = machine
	n.perform(actions)
	n.carriersAtStart()
	for i, g := range n.config.Groups {
		if n.mayHold(g) {
			held, left := n.found(i)
			n.deliver(director.Found{Group: g.Name, Held: held, Left: left})
		}
	}
	n.poll(n.process)
	process := n.process
	n.tick = func() {
		if n.process != process || !n.running {
			return
		}
		if !n.stands() && !n.draining {
			n.deliver(director.Tick{})
		}
		n.w.after(n.config.Timings.Tick, n.tick)
	}
	n.w.after(Time(n.w.rng.Int64N(int64(n.config.Timings.Tick))), n.tick)
}

func (n *node) mayHold(g director.Group) bool {
	return slices.Contains(n.config.Holders(g), n.name)
}

// poll hands over the carrier and the conditions again and again.
func (n *node) poll(process int) {
	if n.process != process || !n.running {
		return
	}
	n.pollCarriers()
	n.conditions()
	n.w.after(500*ms, func() { n.poll(process) })
}

// conditions of the groups, as the monitors see them.
func (n *node) conditions() {
	if n.id >= n.w.setup.Directors {
		return
	}
	for _, g := range n.config.Groups {
		n.kernelSays(director.Require{Group: g.Name, OK: !n.w.is(Unfit, n.id)})
	}
}

// die at once, as by kill -9: the kernel goes on.
func (n *node) die() {
	if !n.running {
		return
	}
	n.running, n.frozen, n.freezing, n.halfway = false, 0, nil, nil
	n.machine = nil
	n.inbox, n.parked = nil, nil
	n.process++
	if n.w.is(DiskForgets, n.id) && n.disk.certain != nil {
		n.disk.epochs = n.disk.certain
	}
	n.disk.certain = nil
	for i, g := range n.w.setup.Groups {
		if g.Bare {
			n.hold(i, 0, false)
		}
	}
	n.w.log("%s: the process ends", n.name)
}

// socketRoom is how many messages the sockets hold for a process that does not read.
const socketRoom = 200

// receive what comes by the network.
func (n *node) receive(what director.What) {
	if !n.running || n.paused || !n.powered {
		return
	}
	if n.stands() || n.draining {
		if len(n.inbox) < socketRoom {
			n.inbox = append(n.inbox, what)
		}
		return
	}
	n.deliver(what)
}

// kernelSays is for what does not come by the network.
func (n *node) kernelSays(what director.What) {
	if !n.running {
		return
	}
	if n.stands() || n.draining {
		n.inbox = append(n.inbox, what)
		return
	}
	n.deliver(what)
}

// deliver one event to the machine.
func (n *node) deliver(what director.What) {
	if !n.running || n.w.broken != nil {
		return
	}
	if heard, ok := what.(director.Heard); ok {
		n.notes(heard.Message)
	}
	n.w.steps++
	if n.w.options.Verbose {
		n.w.log("%s < %T %+v", n.name, what, what)
	}
	n.perform(n.machine.Step(director.Event{At: n.clock(), What: what}))
}

// notes the epochs that a message brings, for rule 7.
func (n *node) notes(m director.Message) {
	for i := range m.Word.Groups {
		if g := n.w.group(m.Word.Groups[i].Group); g >= 0 {
			n.heardEpochs[g] = max(n.heardEpochs[g], m.Word.Groups[i].Epoch)
		}
	}
}

// freeze the process, at once or in its next renewal.
func (n *node) freeze(h *happening) {
	switch {
	case !n.running:
	case h.Kind == Freeze && h.Arg == 1 && !h.over:
		n.freezing = h
	default:
		n.frozen++
		h.froze = true
	}
}

// unfreeze what a fault froze, if it did and the process is still the same.
func (n *node) unfreeze(h *happening) {
	if n.freezing == h {
		n.freezing = nil
	}
	if n.halfway == h {
		n.halfway = nil
	}
	if h.froze {
		n.resume(h.process)
	}
}

// stands tells whether the process stands still.
func (n *node) stands() bool { return n.frozen > 0 || n.paused }

// resume the process that a fault froze.
func (n *node) resume(process int) {
	if n.process == process && n.frozen > 0 {
		n.frozen--
		n.wake()
	}
}

// wake: what was in the middle of something and what waited in the sockets goes on.
func (n *node) wake() {
	if n.stands() || !n.running {
		return
	}
	if n.draining {
		n.unpark() // the draining was frozen as well
		return
	}
	n.draining = true
	if n.w.rng.IntN(2) == 0 {
		n.unpark()
		n.drain()
	} else {
		n.drain()
		n.unpark()
	}
}

func (n *node) unpark() {
	parked := n.parked
	n.parked = nil
	process := n.process
	for _, do := range parked {
		if n.process == process {
			do()
		}
	}
}

// drain what is queued: each event takes its time, and what the actions do goes on meanwhile.
func (n *node) drain() {
	if len(n.inbox) == 0 {
		n.draining = false
		n.deliver(director.Tick{})
		return
	}
	what := n.inbox[0]
	n.inbox = n.inbox[1:]
	n.deliver(what)
	n.later(Time(20+n.w.rng.IntN(100))*Time(1000), n.drain)
}

// flush drops what the sockets hold; what the kernel and the process itself
// have to say is no socket's.
func (n *node) flush() {
	kept := n.inbox[:0]
	for _, what := range n.inbox {
		switch what.(type) {
		case director.Heard, director.PingAnswered, director.WireAnswered, director.WireWorks, director.ForeignClaim:
		default:
			kept = append(kept, what)
		}
	}
	n.inbox = kept
}

// later does something in this process, unless that dies before; a frozen one
// does it when it is resumed.
func (n *node) later(d Time, do func()) {
	process := n.process
	n.w.after(d, func() {
		switch {
		case n.process != process || !n.running:
		case n.stands():
			n.parked = append(n.parked, do)
		default:
			do()
		}
	})
}

// answers tells whether the host's kernel answers for an address.
func (n *node) answers(group, address int) bool {
	return n.powered && !n.paused && n.addresses[group][address].held
}

// serves tells whether it answers for all addresses of a group.
func (n *node) serves(group int) bool {
	return n.powered && !n.paused && n.holdsAll(group)
}

// has tells whether the kernel holds any address of a group.
func (n *node) has(group int) bool {
	return slices.ContainsFunc(n.addresses[group], func(a address) bool { return a.held })
}

// usable tells whether a process runs and can do things.
func (n *node) usable() bool { return n.running && n.powered && !n.stands() }
