package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/outbox"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
	"github.com/monitord/monitord/internal/watch"
)

// recordKeeper is a recorder for who looks back.
type recordKeeper struct{ mail outboxtest.Recorder }

func (k *recordKeeper) Send(ctx context.Context, e alerts.Event) error { return k.mail.Send(ctx, e) }

func (*recordKeeper) Recorder() {}

// TestARecordIsNeverSummedUp: people are spared a flood, a file is not.
func TestARecordIsNeverSummedUp(t *testing.T) {
	mail, file := &outboxtest.Recorder{}, &recordKeeper{}
	m := &fakeMonitor{check: down("w1")}
	all := flood(outbox.FloodLimit+20, m, mail)
	for i := range all {
		w := &all[i]
		id := w.Group + "/file"
		w.Periods[0].Alerts = append(w.Periods[0].Alerts, watch.Action{ID: id, Name: "file"})
		w.Actions[id] = file
	}
	engineTest(t, all, func(t *testing.T, _ *Engine) {
		time.Sleep(3 * outbox.FloodWindow)
		synctest.Wait()
		if n := len(mail.Seen()); n != outbox.FloodLimit+1 {
			t.Errorf("%d mails, want %d and a sum", n, outbox.FloodLimit)
		}
		if n := len(file.mail.Seen()); n != outbox.FloodLimit+20 {
			t.Errorf("%d records, want %d", n, outbox.FloodLimit+20)
		}
	})
}
