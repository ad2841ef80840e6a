package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/state"
)

const (
	// writePatience is how long a change waits to be written. A disk that hangs must
	// not keep a failed server in.
	writePatience = time.Second
	// closePatience bounds the last write.
	closePatience = 10 * time.Second
)

// A keeper writes the newest value of one document. The zero value, and nil, keep
// nothing.
type keeper[T any] struct {
	saver *state.Saver
	log   logrus.FieldLogger

	mu     sync.Mutex // protects what follows
	value  *T         // nil before the first
	late   bool       // it was said that writing takes too long
	closed bool
	last   error // of the last write, after close
}

// newKeeper returns a keeper that also writes every refresh, so that the document's
// time tells until when the daemon lived; 0 is not. Without a store, which has been
// said, it keeps nothing.
func newKeeper[T any](store *state.Store, d state.Document, refresh time.Duration, log logrus.FieldLogger) *keeper[T] {
	log = log.WithField("state", d.Name)
	if store == nil {
		return &keeper[T]{log: log}
	}
	return keeping(func(value T) error { return store.Save(d, value) }, refresh, log)
}

func keeping[T any](save func(T) error, refresh time.Duration, log logrus.FieldLogger) *keeper[T] {
	k := &keeper[T]{log: log}
	k.saver = state.NewSaver(state.SaverConfig{
		Refresh: refresh,
		Write: func() error {
			k.mu.Lock()
			value := k.value
			k.mu.Unlock()
			if value == nil {
				return nil
			}
			return save(*value)
		},
		Report: func(err error) {
			if err != nil {
				k.log.WithError(err).Error("the state cannot be written: a restart would forget")
				return
			}
			k.log.Info("the state is written again")
		},
	})
	return k
}

// keep writes a value, waiting for the disk for a while.
func (k *keeper[T]) keep(value T) {
	if k.saver == nil {
		return
	}
	k.mu.Lock()
	k.value = &value
	closed := k.closed
	k.mu.Unlock()
	if closed {
		return
	}
	k.saver.Mark()
	ctx, cancel := context.WithTimeout(context.Background(), writePatience)
	defer cancel()
	late := errors.Is(k.saver.Flush(ctx), context.DeadlineExceeded)
	k.mu.Lock()
	news := late && !k.late
	k.late = late
	k.mu.Unlock()
	if news {
		k.log.Warn("the disk takes long to write the state; what has to be done is done meanwhile")
	}
}

// close writes the last value. Once more it only tells how that went: a disk that hangs
// is waited for once, and not by what comes later.
func (k *keeper[T]) close() error {
	if k == nil || k.saver == nil {
		return nil
	}
	k.mu.Lock()
	closed, last := k.closed, k.last
	k.closed = true
	k.mu.Unlock()
	if closed {
		return last
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	err := k.saver.Close(ctx)
	k.mu.Lock()
	k.last = err
	k.mu.Unlock()
	return err
}
