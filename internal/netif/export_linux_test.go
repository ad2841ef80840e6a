package netif

// For the tests of this package alone.
var (
	Announcement = announcement
	ReadFrame    = readFrame
	Remaining    = remaining
)

// SendFrame sends one frame as it is.
func (w *Wire) SendFrame(frame []byte) error { return w.send(frame) }

// Says is what a frame claims, for people.
func (c claim) Says() string { return c.address.String() + " is at " + c.mac.String() }
