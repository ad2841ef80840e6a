package realserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/monitord/monitord/internal/state"
)

// A State is how much of what is needed is there.
type State string

// The states.
const (
	IsUp   State = "up"
	IsDown State = "down" // no VIP is an address of this machine where it should be
	IsHalf State = "half"
)

// A Situation is what Status finds.
type Situation struct {
	State State `json:"state"`
	VIPs  []VIP `json:"vips"`
	// Notes are what else is worth knowing.
	Notes []string `json:"notes,omitempty"`
}

// A VIP is the situation of one.
type VIP struct {
	VIP    string        `json:"vip"`
	State  State         `json:"state"`
	Mode   Mode          `json:"mode"`
	Tunnel Encapsulation `json:"tunnel,omitempty"`
	Device string        `json:"device"`
	// Remembered is that Up put it up, and Down will take it down.
	Remembered bool    `json:"remembered"`
	Checks     []Check `json:"checks"`
}

// A Check is one thing that a VIP needs.
type Check struct {
	What  string `json:"what"`
	Right bool   `json:"right"`
	Is    string `json:"is"`
	Want  string `json:"want"`
	Why   string `json:"why"`
	// Mend is the command that puts it right; empty if it is, or if none can.
	Mend string `json:"mend,omitempty"`
}

// Status compares with the kernel what the VIPs need; without VIPs, what all that
// are up need. For a VIP that is up the way it was put up counts, for another one
// the configuration's. It changes nothing.
func Status(ctx context.Context, c Config) (Situation, error) { return statusOn(ctx, linux{}, c) }

func statusOn(ctx context.Context, k kernel, c Config) (Situation, error) {
	entries, err := c.entries()
	if err != nil {
		return Situation{}, err
	}
	s := &server{kernel: k}
	found := Situation{State: IsDown, VIPs: []VIP{}}
	m, err := s.recall(ctx, c.dir(), &found)
	if err != nil {
		return Situation{}, err
	}
	if len(entries) == 0 {
		entries = m.VIPs
	}
	count := map[State]int{}
	for _, e := range entries {
		known := m.entry(e)
		if known != nil {
			e = *known
		}
		v, err := s.check(ctx, e)
		if err != nil {
			return Situation{}, err
		}
		v.Remembered = known != nil
		count[v.State]++
		found.VIPs = append(found.VIPs, v)
	}
	switch {
	case len(entries) == 0, count[IsDown] == len(entries):
	case count[IsUp] == len(entries):
		found.State = IsUp
	default:
		found.State = IsHalf
	}
	for _, ch := range m.Changes {
		if !m.needs(ch.Thing) {
			found.Notes = append(found.Notes, fmt.Sprintf("%s was not undone: monitord realserver down tries again", ch.Thing))
		}
	}
	return found, nil
}

// recall reads the memory, if there is one and it may be read.
func (s *server) recall(ctx context.Context, dir string, found *Situation) (m memory, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return memory{}, nil
	}
	var store *state.Store
	if store, err = state.Await(ctx, dir); errors.Is(err, fs.ErrPermission) {
		found.Notes = append(found.Notes, fmt.Sprintf("what is up is remembered in %s, which this user may not read", dir))
		return memory{}, nil
	} else if err != nil {
		return memory{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s.store = store
	var report Report
	m, err = s.load(&report)
	found.Notes = append(found.Notes, report.Left...)
	return m, err
}

func (s *server) check(ctx context.Context, e entry) (VIP, error) {
	v := VIP{VIP: e.VIP.String(), State: IsUp, Mode: e.Mode, Tunnel: e.Tunnel, Device: e.Device}
	for _, w := range plan(e) {
		right, is, err := s.look(ctx, w)
		if err != nil {
			return VIP{}, err
		}
		c := Check{What: w.thing.String(), Right: right, Is: is, Want: w.value, Why: w.why}
		if !right {
			c.Mend = w.thing.command(w.value)
			if w.thing.Kind == elsewhere {
				c.Mend = "ip addr del " + strings.ReplaceAll(is, between, "; ip addr del ")
			}
			if v.State == IsUp {
				v.State = IsHalf
			}
			if w.thing.Kind == address {
				v.State = IsDown
			}
		}
		v.Checks = append(v.Checks, c)
	}
	return v, nil
}
