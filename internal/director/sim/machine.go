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

// A Stepper makes steps: director.Step, or what a test puts in its place.
type Stepper func(director.Config, director.State, director.Event) (director.State, []director.Action)

// Twice is the real machine with rule 8: each step is made twice from the same
// state, must come to the same end, and must leave the state that it began with
// as it was. blame is called if it does not.
func Twice(by Stepper, blame func(string)) Maker {
	return func(c director.Config, r director.Restored, now director.Instant) (Machine, []director.Action) {
		s, actions := director.Start(c, r, now)
		step := func(s director.State, e director.Event) (director.State, []director.Action) { return by(c, s, e) }
		return &twice[director.State]{state: s, step: step, groups: director.State.Groups, blame: blame}, actions
	}
}

// twice works on any state, so that a test can have one that it can spoil.
type twice[S any] struct {
	state  S
	step   func(S, director.Event) (S, []director.Action)
	groups func(S) []director.Standing
	steps  int
	blame  func(string)
}

func (m *twice[S]) Groups() []director.Standing { return m.groups(m.state) }

func (m *twice[S]) Step(e director.Event) []director.Action {
	before := m.state
	if m.steps++; m.steps%97 != 0 {
		return m.twoOutcomes(before, e)
	}
	was := fmt.Sprintf("%+v", before) // slow, so not for each
	first, actions := m.step(before, e)
	kept := fmt.Sprintf("%+v %+v", first, actions)
	second, again := m.step(before, e)
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

func (m *twice[S]) twoOutcomes(before S, e director.Event) []director.Action {
	first, actions := m.step(before, e)
	second, again := m.step(before, e)
	if !reflect.DeepEqual(actions, again) || !reflect.DeepEqual(first, second) {
		m.blame(fmt.Sprintf("%T has two outcomes: %+v, %+v", e.What, actions, again))
	}
	m.state = first
	return actions
}
