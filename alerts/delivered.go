package alerts

import "errors"

// ErrDelivered is in the chain of a Send's error that is a complaint about an
// event which was delivered all the same: one of several recipients was refused,
// a program exited with an error after it had done its work. The caller logs it
// and does not retry.
var ErrDelivered = errors.New("delivered with a complaint")

// ErrRefused is in the chain of a Send's error that no other attempt with this event
// can mend: the receiver understood it and does not want it. The caller logs it and
// does not retry, so that it does not hold up the events after it.
var ErrRefused = errors.New("refused for good")
