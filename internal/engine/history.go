package engine

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/history"
)

// History returns the alerts of the past, oldest first, and those that wait. An error
// is the disk's; what is returned then is what could be read, and what the disk does not
// have yet.
func (e *Engine) History(q history.Query) ([]history.Entry, error) {
	return e.book.Find(time.Now(), q, e.outbox.Waiting)
}

// ended notes what became of a message; why is the whole of h.Why. It does not wait.
func (e *Engine) ended(h history.Entry, why string) {
	if h.Fate == history.Dropped {
		key := h.Watch()
		e.log.WithField("watch", key.String()).WithField("alert", h.Alert).WithField("why", why).Warn("alert dropped")
	}
	h.Ended = time.Now()
	e.book.Put(h)
}

// recallEnded writes what the engine before could not write any more.
func (e *Engine) recallEnded(old []history.Entry) {
	if err := e.book.Recall(old); err != nil {
		e.log.WithError(err).Error("the history of alerts cannot be read")
	}
}

// write has the history and mon's logs written until stop is closed; done is closed
// when the last is.
func (e *Engine) write(stop <-chan struct{}) (done <-chan struct{}) {
	ended := make(chan struct{})
	logsEnded := make(chan struct{})
	go func() {
		defer close(logsEnded)
		e.monLogs.run(stop)
	}()
	go func() {
		defer close(ended)
		e.book.Run(stop)
		<-logsEnded
	}()
	return ended
}

// sayWritten returns what is told when something cannot be written, and when it is again.
func sayWritten(log logrus.FieldLogger, what string) func(lost int, err error) {
	return func(lost int, err error) {
		log := log.WithFields(logrus.Fields{"lost": lost})
		if err != nil {
			log.WithError(err).Error(what + " cannot be written; it will be tried again")
			return
		}
		log.Info(what + " is written again")
	}
}
