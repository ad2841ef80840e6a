package sim

import (
	"fmt"
	"reflect"

	"github.com/monitord/monitord/internal/director"
)

// A Machine is what runs on a node: one process of the daemon.
type Machine interface {
	Step(e director.Event) []director.Action
	Groups() []director.Standing
}

// A Maker starts a machine.
type Maker func(director.Config, director.Restored, director.Instant) (Machine, []director.Action)

// Director is the real machine.
func Director(c director.Config, r director.Restored, now director.Instant) (Machine, []director.Action) {
	s, actions := director.Start(c, r, now)
	return &genuine{config: c, state: s}, actions
}

type genuine struct {
	config director.Config
	state  director.State
}

func (m *genuine) Step(e director.Event) []director.Action {
	var actions []director.Action
	m.state, actions = director.Step(m.config, m.state, e)
	return actions
}

func (m *genuine) Groups() []director.Standing { return m.state.Groups() }

// Twice is the real machine with rule 8: each step is made twice from the same
// state, must come to the same end, and must leave the state that it began with
// as it was. blame is called if it does not.
func Twice(blame func(string)) Maker {
	return func(c director.Config, r director.Restored, now director.Instant) (Machine, []director.Action) {
		s, actions := director.Start(c, r, now)
		return &twice{genuine: genuine{config: c, state: s}, blame: blame}, actions
	}
}

type twice struct {
	genuine
	steps int
	blame func(string)
}

func (m *twice) Step(e director.Event) []director.Action {
	before := m.state
	if m.steps++; m.steps%97 != 0 {
		return m.twoOutcomes(before, e)
	}
	was := fmt.Sprintf("%+v", before) // slow, so not for each
	first, actions := director.Step(m.config, before, e)
	kept := fmt.Sprintf("%+v %+v", first, actions)
	second, again := director.Step(m.config, before, e)
	switch {
	case fmt.Sprintf("%+v", before) != was:
		m.blame(fmt.Sprintf("%T changes the state it was given", e.What))
	case !reflect.DeepEqual(actions, again) || !reflect.DeepEqual(first, second):
		m.blame(fmt.Sprintf("%T has two outcomes: %+v, %+v", e.What, actions, again))
	case fmt.Sprintf("%+v %+v", first, actions) != kept:
		m.blame(fmt.Sprintf("%T changes what an earlier step returned", e.What))
	}
	m.state = second
	return again
}

func (m *twice) twoOutcomes(before director.State, e director.Event) []director.Action {
	first, actions := director.Step(m.config, before, e)
	second, again := director.Step(m.config, before, e)
	if !reflect.DeepEqual(actions, again) || !reflect.DeepEqual(first, second) {
		m.blame(fmt.Sprintf("%T has two outcomes: %+v, %+v", e.What, actions, again))
	}
	m.state = first
	return actions
}
