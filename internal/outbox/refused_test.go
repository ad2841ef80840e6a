package outbox

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/outbox/outboxtest"
)

// What a receiver refuses for good is given up, and does not hold up what comes after.
func TestRefusedForGoodIsNotRetried(t *testing.T) {
	outboxTest(t, func(t *testing.T, o *Outbox, reports *[]Attempt) {
		r := &outboxtest.Recorder{Fail: func(n int, _ alerts.Event) error {
			if n == 1 {
				return fmt.Errorf("status 400: %w", alerts.ErrRefused)
			}
			return nil
		}}
		o.put(testMessage(r, alerts.Failure, "h1"))
		time.Sleep(time.Hour)
		synctest.Wait()
		o.put(testMessage(r, alerts.Failure, "h2"))
		time.Sleep(time.Hour)
		synctest.Wait()
		r.Want(t, "failure h2")
		if len(*reports) != 2 || !(*reports)[0].Final || (*reports)[0].Err == nil {
			t.Errorf("reports: %+v", *reports)
		}
	})
}
