package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/takeover"
	"github.com/monitord/monitord/internal/transition"
)

// keptNews is how many events "monitord cluster" can show.
const keptNews = 100

// A newsroom takes the notices of the loop, which must not wait, to those who log
// them and tell people.
type newsroom struct {
	wake chan struct{} // holds one token while something waits

	mu      sync.Mutex // protects what follows
	waiting []takeover.Notice
	kept    []ClusterEvent
	holds   map[string]bool // groups that this director holds
}

func newNewsroom() *newsroom {
	return &newsroom{wake: make(chan struct{}, 1), holds: map[string]bool{}}
}

// add does not wait.
func (n *newsroom) add(notice takeover.Notice) {
	n.mu.Lock()
	n.waiting = append(n.waiting, notice)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *newsroom) take() []takeover.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	taken := n.waiting
	n.waiting = nil
	return taken
}

// keep keeps an event for "monitord cluster", and tells whether who holds the group
// here is new.
func (n *newsroom) keep(notice takeover.Notice) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept = append(n.kept, eventOf(notice))
	n.kept = n.kept[max(0, len(n.kept)-keptNews):]
	if notice.Kind != director.Transition || n.holds[notice.Group] == (notice.To == director.Active) {
		return false
	}
	n.holds[notice.Group] = notice.To == director.Active
	return true
}

func (n *newsroom) isHeld(group string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.holds[group]
}

func (n *newsroom) events() []ClusterEvent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.kept)
}

// A ClusterEvent is something that happened to the groups of this director.
type ClusterEvent struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind"` // transition, refusal or remark
	Group  string    `json:"group,omitempty"`
	From   string    `json:"from,omitempty"`
	To     string    `json:"to,omitempty"`
	Epoch  uint64    `json:"epoch,omitempty"`
	Reason string    `json:"reason"`
	// Without is for how many seconds nobody held the group; 0 if that is not known.
	Without float64 `json:"without_owner_seconds,omitempty"`
}

func eventOf(n takeover.Notice) ClusterEvent {
	e := ClusterEvent{Time: n.Time, Kind: n.Kind.String(), Group: n.Group, Epoch: n.Epoch, Reason: n.Reason.String(), Without: max(0, n.Without.Seconds())}
	if n.Kind == director.Transition {
		e.From, e.To = n.From.String(), n.To.String()
	}
	return e
}

// report logs what happens, tells people, and has the alerts of watches leave here or
// elsewhere.
func (c *cluster) report(ctx context.Context, d *daemon) {
	for {
		ending := ctx.Err() != nil // before the last are taken
		for _, n := range c.news.take() {
			c.pass(d, n)
		}
		if ending {
			return
		}
		select {
		case <-ctx.Done():
		case <-c.news.wake:
		}
	}
}

// pass passes on one notice. The log comes last: it may be a pipe that nobody reads.
func (c *cluster) pass(d *daemon, n takeover.Notice) {
	if c.news.keep(n) {
		d.engine.Own(c.owners(d))
		select {
		case c.moved <- struct{}{}:
		default:
		}
	}
	if n.Kind == director.Transition {
		c.tell.Tell(c.event(n))
	}
	c.logNotice(n)
}

func (c *cluster) event(n takeover.Notice) transition.Event {
	return transition.Event{
		Group: n.Group, Node: c.site.Director.Self, From: n.From, To: n.To, Epoch: n.Epoch, Priority: n.Priority,
		Reason: n.Reason.String(), Without: max(0, n.Without), At: n.Time,
	}
}

func (c *cluster) logNotice(n takeover.Notice) {
	fields := logrus.Fields{}
	if n.Group != "" {
		fields["group"], fields["role"], fields["epoch"] = n.Group, n.To.String(), n.Epoch
	}
	if n.Without >= 0 {
		fields["without_owner"] = n.Without.Round(time.Millisecond).String()
	}
	log := c.log.WithFields(fields)
	switch {
	case n.Kind == director.Transition && n.To == director.Fault:
		log.WithField("was", n.From.String()).Error(n.Reason.String())
	case n.Kind == director.Transition:
		log.WithField("was", n.From.String()).Info(n.Reason.String())
	case n.Kind == director.Refusal && n.Reason.Code == director.ReasonForeign:
		log.Error("not taken: " + n.Reason.String()) // somebody has to find that machine
	case n.Kind == director.Refusal:
		log.Debug("stays so: " + n.Reason.String())
	default:
		log.Warn(n.Reason.String())
	}
}

// owners says whose alerts leave this director: those of the groups that it holds.
func (c *cluster) owners(d *daemon) engine.Owners {
	return engine.Owners{
		Self:  c.site.Director.Self,
		Watch: func(w *config.Watch) string { return c.notMine(w.Owner) },
		Virtual: func(name string) string {
			group := governed(d.current())[name]
			if group == "" && len(c.site.Groups) > 0 {
				group = c.site.Groups[0].Name
			}
			return c.notMine(group)
		},
	}
}

func (c *cluster) notMine(group string) string {
	if group == "" || c.news.isHeld(group) {
		return ""
	}
	return "this director does not hold the group " + group
}

// share tells the other directors what people were told, and takes up what they did.
func (c *cluster) share(ctx context.Context, d *daemon) {
	const settle, refresh = 100 * time.Millisecond, 30 * time.Second
	select {
	case <-ctx.Done():
		return
	case <-d.engine.Began():
	}
	again := time.NewTimer(settle)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.engine.Changed():
			again.Reset(settle)
		case <-again.C:
			again.Reset(refresh)
			c.handOver(d.engine)
		case <-c.moved: // the next owner should know at once
			again.Reset(refresh)
			c.handOver(d.engine)
		case s := <-c.beats.Shared():
			if s.Kind != watchesKind {
				continue
			}
			if err := d.engine.Absorb(s.From, s.At, s.Data); err != nil {
				c.log.WithError(err).Error("what another director told people is not known here")
			}
		}
	}
}

// watchesKind is the kind of the documents about what people were told.
const watchesKind = "watches"

// handOver tells the other directors what people were told.
func (c *cluster) handOver(e *engine.Engine) {
	document, err := e.Handover()
	if err == nil {
		err = c.beats.Share(watchesKind, document)
	}
	if err != nil {
		c.log.WithError(err).Error("the other directors do not learn what people were told")
	}
}
