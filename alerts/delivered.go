package alerts

import "errors"

// ErrDelivered is in the chain of a Send's error that is a complaint about an
// event which was delivered all the same: one of several recipients was refused,
// a program exited with an error after it had done its work. The caller logs it
// and does not retry.
var ErrDelivered = errors.New("delivered with a complaint")
