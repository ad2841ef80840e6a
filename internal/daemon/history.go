package daemon

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/history"
	"github.com/monitord/monitord/internal/state"
	"github.com/monitord/monitord/internal/watch"
)

// historyName is the journal of alerts in the folder for the state.
const historyName = "history"

// historyLimits keep at least the last 10,000 alerts, unless they are long, and at
// most 16 MiB of them; the engine shows those of 90 days.
var historyLimits = state.JournalLimits{Records: 10_000, Bytes: 8 << 20, Age: 90 * 24 * time.Hour}

// openHistory opens the journal; one that cannot be opened now is tried again with
// each alert.
func openHistory(store *state.Store, log logrus.FieldLogger) *state.Journal {
	j, err := store.Journal(historyName, historyLimits)
	if err != nil {
		log.WithError(err).Error("the history of alerts cannot be opened")
	}
	return j
}

// A History answers "monitord history".
type History struct {
	Alerts []history.Entry `json:"alerts"`
	// Problem is why some may be missing.
	Problem string `json:"problem,omitzero"`
}

// alertHistory is what was alerted, and what became of it.
func (d *daemon) alertHistory(q control.HistoryQuery) (any, error) {
	query := history.Query{Since: q.Since, Last: q.Last}
	if q.Watch != "" {
		group, service, found := strings.Cut(q.Watch, ":")
		if !found {
			return nil, fmt.Errorf("%q is no watch: write GROUP:SERVICE", q.Watch)
		}
		query.Watch = watch.Key{Group: group, Service: service}
	}
	entries, err := d.engine.History(query)
	answer := History{Alerts: entries}
	switch {
	case err != nil:
		answer.Problem = err.Error()
	case d.history == nil:
		answer.Problem = errNoHistory.Error()
	}
	if answer.Alerts == nil {
		answer.Alerts = []history.Entry{}
	}
	return answer, nil
}

var errNoHistory = errors.New("there is no folder for the state: only what waits to be sent is known")
