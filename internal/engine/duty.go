package engine

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/watch"
)

// Owners says of what this director tells people: of two directors that both test
// everything, one does. The pools hear everything on both. Each function returns why
// this director does not, as in "dr1 owns the group web", and "" if it does; nil is
// "" for all. They are called whenever the owners or the configuration are new.
type Owners struct {
	// Self is the name of this director among the others.
	Self    string
	Watch   func(*config.Watch) string
	Virtual func(name string) string
}

// A duty is what Owners said about one configuration.
type duty struct {
	watches  map[watch.Key]string
	virtuals map[string]string
}

func (o Owners) duty(site *config.Site) duty {
	d := duty{watches: map[watch.Key]string{}, virtuals: map[string]string{}}
	for i := range site.Watches {
		if o.Watch != nil {
			d.watches[site.Watches[i].Key] = o.Watch(&site.Watches[i])
		}
	}
	for virtual := range site.Quorums {
		if o.Virtual != nil {
			d.virtuals[virtual] = o.Virtual(virtual)
		}
	}
	return d
}

// Own says who owns what from now on; without it this director owns everything. What
// the owner before could not tell any more is told by the new one, as the table in
// package watch has it. It may be called before Run, and then takes effect with it.
func (e *Engine) Own(o Owners) {
	e.mu.Lock()
	e.owners = o
	e.ownerships++
	e.mu.Unlock()
	d := e.lockAsked(nil)
	defer e.mu.Unlock()
	e.duty = d
	if e.running {
		e.takeDuty(e.now())
	}
}

// lockAsked locks mu, and returns what the present owners say about a configuration;
// nil is the present one. They are asked without the lock: it is not our code.
func (e *Engine) lockAsked(site *config.Site) duty {
	for {
		e.mu.Lock()
		o, ownerships, about := e.owners, e.ownerships, site
		if about == nil {
			about = e.site
		}
		e.mu.Unlock()
		d := o.duty(about)
		e.mu.Lock()
		if e.ownerships == ownerships && (site != nil || e.site == about) {
			return d
		}
		e.mu.Unlock()
	}
}

// takeDuty is called with mu held.
func (e *Engine) takeDuty(now time.Time) {
	var notices []watch.Notice
	silent := map[watch.Key]bool{}
	for _, key := range e.set.Keys() {
		if why := e.duty.watches[key]; why != "" {
			silent[key] = true
			e.set.Mute(now, key, why)
			continue
		}
		notices = append(notices, e.set.Own(now, key)...)
	}
	if len(notices) > 0 {
		e.log.WithFields(logrus.Fields{"alerts": len(notices)}).Info("told what nobody could tell before")
	}
	e.dispatch(notices)
	e.pokeTrapClock() // a failure may have to be escalated here now
	for virtual, q := range e.quorums {
		silent[q.Key] = e.duty.virtuals[virtual] != ""
		e.ownQuorum(now, virtual)
	}
	// Last: what waited, and what is due now, leaves in the order of its lines.
	e.outbox.Own(silent)
}
