package alerts

import (
	"errors"
	"time"
)

// ErrDelivered is in the chain of a Send's error that is a complaint about an
// event which was delivered all the same: one of several recipients was refused,
// a program exited with an error after it had done its work. The caller logs it
// and does not retry.
var ErrDelivered = errors.New("delivered with a complaint")

// ErrRefused is in the chain of a Send's error that no other attempt with this event
// can mend: the receiver understood it and does not want it. The caller logs it and
// does not retry, so that it does not hold up the events after it.
var ErrRefused = errors.New("refused for good")

// A BusyError is a Send's error whose receiver asks to be left alone for a while, as a
// web server does with Retry-After. The caller waits at least that long before its next
// attempt, but 5 minutes at most; a newer event waits as well.
type BusyError struct {
	Err  error
	Wait time.Duration // 0 or less: no longer than the caller does anyway
}

func (e *BusyError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *BusyError) Unwrap() error { return e.Err }
