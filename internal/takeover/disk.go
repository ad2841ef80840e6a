package takeover

import (
	"errors"
	"maps"
	"sync"

	"github.com/monitord/monitord/internal/director"
)

var errNoDisk = errors.New("there is no folder for the state")

// A disk writes the memory, without the loop waiting for it: what changes while it
// writes is written next, at once.
type disk struct {
	save func(Memory) error
	say  func(director.What)
	wake chan struct{}

	mu      sync.Mutex // protects what follows
	memory  Memory
	waiting []director.Saved // are answered when the next write is over
	changed bool
	ending  bool
}

func newDisk(save func(Memory) error, memory Memory, say func(director.What)) *disk {
	memory.Epochs = maps.Clone(memory.Epochs)
	if memory.Epochs == nil {
		memory.Epochs = map[string]uint64{}
	}
	return &disk{save: save, say: say, wake: make(chan struct{}, 1), memory: memory, changed: true}
}

func (d *disk) epoch(group string, epoch uint64) {
	d.mu.Lock()
	d.memory.Epochs[group] = max(d.memory.Epochs[group], epoch)
	d.waiting = append(d.waiting, director.Saved{Group: group, Epoch: epoch})
	d.changed = true
	d.mu.Unlock()
	d.poke()
}

func (d *disk) maintenance(on bool) {
	d.mu.Lock()
	d.memory.Maintenance, d.changed = on, true
	d.mu.Unlock()
	d.poke()
}

func (d *disk) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// end lets run return when all is written.
func (d *disk) end() {
	d.mu.Lock()
	d.ending = true
	d.mu.Unlock()
	d.poke()
}

// run writes until end.
func (d *disk) run() {
	for {
		d.mu.Lock()
		if !d.changed {
			ending := d.ending
			d.mu.Unlock()
			if ending {
				return
			}
			<-d.wake
			continue
		}
		memory, answers := d.memory, d.waiting
		memory.Epochs = maps.Clone(memory.Epochs)
		d.waiting, d.changed = nil, false
		d.mu.Unlock()
		err := errNoDisk
		if d.save != nil {
			err = d.save(memory)
		}
		for _, a := range answers {
			a.OK, a.Detail = err == nil, text(err)
			d.say(a)
		}
	}
}
