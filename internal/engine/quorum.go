package engine

import (
	"fmt"
	"maps"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/lvs"
)

// AdoptQuorums has Quorum tell those that the site names, ahead of [Engine.Reload]:
// the pool may lose a quorum while it takes the new configuration over.
func (e *Engine) AdoptQuorums(site *config.Site) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.adoptQuorums(site)
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
	q := e.quorums[c.Virtual]
	if q == nil {
		return
	}
	actions := q.Lost
	if c.Had {
		actions = q.Had
	}
	for _, a := range actions {
		alert, built := e.actions[a.ID]
		if !built {
			continue // its program is missing, which has been said
		}
		m := &message{box: q.Key.String() + " " + a.Name, name: a.Name, action: a.ID, alert: alert, event: quorumEvent(q, c)}
		if !e.site.Compat {
			m.destination = a.Name
		}
		e.outbox.put(m)
	}
}

// quorumEvent is the event of a service "quorum" of a group that is named as the
// virtual service.
func quorumEvent(q *config.Quorum, c lvs.QuorumChange) alerts.Event {
	e := alerts.Event{
		Group: q.Key.Group, Service: q.Key.Service, Description: q.Description, Time: c.At, Events: 1,
		FirstFailure: c.Lost, Outage: fmt.Sprintf("%s@%d", q.Key, c.Lost.UnixMilli()),
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
