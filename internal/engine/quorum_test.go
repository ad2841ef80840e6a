package engine

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus/hooks/test"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/watch"
)

// A mailbox keeps what it is sent.
type mailbox struct {
	mu   sync.Mutex
	mail []alerts.Event
}

func (m *mailbox) Send(_ context.Context, e alerts.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
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
		e, err := New(site, log)
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
