package runcmd

import (
	"os"
)

// A capture reads one pipe to its end and keeps the first part of it. The fields
// may be read once done is closed.
type capture struct {
	pipe    *os.File
	kept    []byte
	dropped int64
	done    chan struct{}
}

func newCapture(pipe *os.File, limit int) *capture {
	c := &capture{pipe: pipe, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.read(limit)
	}()
	return c
}

// read ends at the end of file, or when the pipe's deadline is set to the past;
// there is nobody to tell of a read error.
func (c *capture) read(limit int) {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.pipe.Read(buf)
		keep := min(n, limit-len(c.kept))
		c.kept = append(c.kept, buf[:keep]...)
		c.dropped += int64(n - keep)
		if err != nil {
			return
		}
	}
}

// feed writes a program's standard input and closes it. A program that does not
// read it to its end is within its rights (EPIPE).
func feed(pipe *os.File, input []byte) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = pipe.Close() }()
		_, _ = pipe.Write(input)
	}()
	return done
}
