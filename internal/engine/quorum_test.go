package engine

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus/hooks/test"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

// A mailbox keeps what it is sent.
type mailbox struct {
	mu    sync.Mutex
	mail  []alerts.Event
	hangs bool
}

func (m *mailbox) Send(_ context.Context, e alerts.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hangs {
		return outboxtest.ErrDown
	}
	m.mail = append(m.mail, e)
	return nil
}

// TestQuorumAlerts: who is named for the loss hears of the loss, who is named for
// the return of the return, both of one outage.
func TestQuorumAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost, had mailbox
		site := &config.Site{Quorums: map[string]*config.Quorum{"web": {
			Watch: config.Watch{
				Config:  watch.Config{Key: watch.Key{Group: "web", Service: "quorum"}},
				Actions: map[string]alerts.Alert{"l": &lost, "h": &had},
			},
			Lost: []watch.Action{{ID: "l", Name: "mail ops"}}, Had: []watch.Action{{ID: "h", Name: "mail ops"}},
		}}}
		log, _ := test.NewNullLogger()
		e, err := Resume(site, log, Memory{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.Run(ctx, time.Second) })
		at := time.Now()
		e.Quorum(lvs.QuorumChange{Virtual: "mail", Quorum: 1, At: at, Lost: at}) // nobody is to be told
		e.Quorum(lvs.QuorumChange{Virtual: "web", Weight: 1, Quorum: 2, At: at, Lost: at})
		synctest.Wait()
		e.Quorum(lvs.QuorumChange{Virtual: "web", Had: true, Weight: 2, Quorum: 2, At: at.Add(time.Minute), Lost: at})
		synctest.Wait()
		cancel()
		running.Wait()
		if len(lost.mail) != 1 || len(had.mail) != 1 {
			t.Fatalf("told of %d losses and %d returns, want one each", len(lost.mail), len(had.mail))
		}
		l, h := lost.mail[0], had.mail[0]
		if l.Kind != alerts.Failure || l.Summary != "quorum of web: only servers of weight 1 are up, 2 are needed" || l.Status != 0 || *l.Exit != 1 {
			t.Errorf("told of the loss: %+v", l)
		}
		if h.Kind != alerts.Up || h.Summary != "quorum of web: servers of weight 2 are up, 2 are needed" || h.Status != 1 || *h.Exit != 0 {
			t.Errorf("told of the return: %+v", h)
		}
		if l.Outage != h.Outage || !h.FirstFailure.Equal(at) {
			t.Errorf("the outages are %q and %q, since %s", l.Outage, h.Outage, h.FirstFailure)
		}
	})
}

// TestQuorumAlertsOfTwo: both pools see the same, one director tells, and each thing
// is told once.
func TestQuorumAlertsOfTwo(t *testing.T) {
	tests := []struct {
		name    string
		happens func(p *quorumPair)
		a, b    string
	}{
		{"the owner tells", func(p *quorumPair) { p.lose(); p.have() }, "alert upalert", ""},
		{"the return is dr2's", func(p *quorumPair) { p.lose(); p.share(); p.kill(); p.own(); p.have() }, "alert", "upalert"},
		{"lost without owner", func(p *quorumPair) { p.kill(); p.lose(); p.own(); p.have() }, "", "alert upalert"},
		{"back without owner", func(p *quorumPair) { p.lose(); p.share(); p.kill(); p.have(); p.own() }, "alert", "upalert"},
		{"lost and back without owner", func(p *quorumPair) { p.kill(); p.lose(); p.have(); p.own() }, "", ""},
		{"told before", func(p *quorumPair) { p.lose(); p.have(); p.share(); p.kill(); p.own() }, "alert upalert", ""},
		{"killed before it is sent", func(p *quorumPair) { p.hang(); p.lose(); p.share(); p.kill(); p.own() }, "", "alert"},
		{"dr2 restarts", func(p *quorumPair) {
			p.lose()
			p.share()
			p.kill()
			p.restart()
			p.own()
			p.have()
		}, "alert", "upalert"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newQuorumPair(t)
				test.happens(p)
				synctest.Wait()
				if got := p.a.kinds(); got != test.a {
					t.Errorf("dr1 told %q, want %q", got, test.a)
				}
				if got := p.b.kinds(); got != test.b {
					t.Errorf("dr2 told %q, want %q", got, test.b)
				}
				if all := append(p.a.mail.mail, p.b.mail.mail...); len(all) == 2 && all[0].Outage != all[1].Outage {
					t.Errorf("one outage has the names %q and %q", all[0].Outage, all[1].Outage)
				}
				p.kill()
				p.b.end()
			})
		})
	}
}

type quorumDirector struct {
	*life
	mail *mailbox
	dead bool
}

func (d *quorumDirector) kinds() string {
	d.mail.mu.Lock()
	defer d.mail.mu.Unlock()
	var out []string
	for _, e := range d.mail.mail {
		out = append(out, map[alerts.Kind]string{alerts.Failure: "alert", alerts.Up: "upalert"}[e.Kind])
	}
	return strings.Join(out, " ")
}

type quorumPair struct {
	t    *testing.T
	a, b *quorumDirector
	lost time.Time
}

func newQuorumPair(t *testing.T) *quorumPair {
	p := &quorumPair{t: t, a: &quorumDirector{mail: &mailbox{}}, b: &quorumDirector{mail: &mailbox{}}}
	p.boot(p.a, "dr1", &fakeStore{})
	p.boot(p.b, "dr2", &fakeStore{})
	p.a.Own(owners("dr1", "dr1"))
	p.b.Own(owners("dr2", "dr1"))
	time.Sleep(time.Second)
	return p
}

func (p *quorumPair) boot(d *quorumDirector, name string, store *fakeStore) {
	site := &config.Site{Quorums: map[string]*config.Quorum{"web": {
		Watch: config.Watch{Config: watch.Config{Key: watch.Key{Group: "web", Service: "quorum"}}, Actions: map[string]alerts.Alert{"m": d.mail}},
		Lost:  []watch.Action{{ID: "m", Name: "mail"}}, Had: []watch.Action{{ID: "m", Name: "mail"}},
	}}}
	d.life = &life{site: site, store: store}
	var err error
	if d.Engine, err = Resume(site, quiet(), Memory{Store: store}); err != nil {
		p.t.Fatal(err)
	}
	d.Own(owners(name, "nobody"))
	var ctx context.Context
	ctx, d.stop = context.WithCancel(p.t.Context())
	d.running.Go(func() { d.Run(ctx, time.Second) })
	synctest.Wait()
}

func (p *quorumPair) say(had bool, weight int) {
	for _, d := range []*quorumDirector{p.a, p.b} {
		if !d.dead {
			d.Quorum(lvs.QuorumChange{Virtual: "web", Had: had, Weight: weight, Quorum: 2, At: time.Now(), Lost: p.lost})
			time.Sleep(30 * time.Millisecond) // no two see it at the same time
		}
	}
	time.Sleep(time.Second)
}

func (p *quorumPair) lose() { p.lost = time.Now(); p.say(false, 1) }
func (p *quorumPair) have() { p.say(true, 2) }

func (p *quorumPair) share() {
	document, err := p.a.Handover()
	if err != nil {
		p.t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	if err := p.b.Absorb("dr1", time.Now(), document); err != nil {
		p.t.Fatal(err)
	}
}

func (p *quorumPair) hang() {
	p.a.mail.mu.Lock()
	defer p.a.mail.mu.Unlock()
	p.a.mail.hangs = true
}

func (p *quorumPair) kill() {
	if !p.a.dead {
		p.hang()
		p.a.kill()
		p.a.dead = true
	}
}

func (p *quorumPair) restart() {
	p.b.end()
	p.boot(p.b, "dr2", p.b.store)
}

func (p *quorumPair) own() {
	p.b.Own(owners("dr2", "dr2"))
	time.Sleep(time.Second)
}
