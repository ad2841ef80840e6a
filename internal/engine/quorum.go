package engine

import (
	"fmt"
	"maps"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/outbox"
)

// AdoptQuorums has Quorum tell those that the site names, ahead of [Engine.Reload]:
// the pool may lose a quorum while it takes the new configuration over.
func (e *Engine) AdoptQuorums(site *config.Site) {
	duty := e.lockAsked(site)
	defer e.mu.Unlock()
	e.adoptQuorums(site)
	e.duty.virtuals = duty.virtuals
}

func (e *Engine) adoptQuorums(site *config.Site) {
	e.quorums = site.Quorums
	for _, q := range site.Quorums {
		maps.Copy(e.actions, q.Actions)
	}
}

// Quorum tells people that a virtual service has lost its quorum, or has it again.
// It does not wait.
func (e *Engine) Quorum(c lvs.QuorumChange) {
	log := e.log.WithFields(logrus.Fields{"virtual": c.Virtual, "weight": c.Weight, "quorum": c.Quorum})
	if c.Had {
		log.Info("the quorum is had again")
	} else {
		log.Error("the quorum is lost")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.quorums[c.Virtual] == nil {
		return
	}
	q := e.quorumOf(c.Virtual)
	q.seen = &c
	e.changed()
	if why := e.duty.virtuals[c.Virtual]; why != "" {
		log.WithField("why", why).Info("nobody is told by this director")
		return
	}
	e.tellQuorum(c)
}

// tellQuorum tells who is named for it. It is called with mu held.
func (e *Engine) tellQuorum(c lvs.QuorumChange) {
	state := e.quorumOf(c.Virtual)
	named := c.Lost
	if c.Had && !state.told.Named.IsZero() {
		named = state.told.Named
	}
	state.told = quorumTold{Lost: !c.Had, Since: c.Lost, Named: named}
	e.pokeNews()
	q := e.quorums[c.Virtual]
	actions := q.Lost
	if c.Had {
		actions = q.Had
	}
	for _, a := range actions {
		alert, built := e.actions[a.ID]
		if !built {
			continue // its program is missing, which has been said
		}
		e.post(outbox.Message{Name: a.Name, Action: a.ID, Alert: alert, Event: quorumEvent(q, c, named), Limited: !e.site.Compat})
	}
}

// quorumEvent is the event of a service "quorum" of a group that is named as the
// virtual service. named is when the outage began, by the clock of who told of it.
func quorumEvent(q *config.Quorum, c lvs.QuorumChange, named time.Time) alerts.Event {
	e := alerts.Event{
		Group: q.Key.Group, Service: q.Key.Service, Description: q.Description, Time: c.At, Events: 1,
		FirstFailure: c.Lost, Outage: fmt.Sprintf("%s@%d", q.Key, named.UnixMilli()),
	}
	failed := 1
	if c.Had {
		e.Kind, e.Status, failed = alerts.Up, 1, 0
		e.Summary = fmt.Sprintf("quorum of %s: servers of weight %d are up, %d are needed", c.Virtual, c.Weight, c.Quorum)
		e.Reason = "the quorum is had again"
	} else {
		e.Kind, e.LastFailure = alerts.Failure, c.At
		e.Summary = fmt.Sprintf("quorum of %s: only servers of weight %d are up, %d are needed", c.Virtual, c.Weight, c.Quorum)
		e.Reason = "the quorum is lost"
	}
	e.Exit = &failed
	return e
}
