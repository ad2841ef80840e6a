package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// requestPause is the time between two requests of the client.
	requestPause = 10 * time.Millisecond
	// requestTimeout is far above what loopback needs, so that only a request
	// that really got no answer counts as an error.
	requestTimeout = 5 * time.Second
)

// A request is one question to the virtual service.
type request struct {
	sent, answered time.Time
	by             string // the server that answered
	err            error
}

// A client asks the virtual service again and again, each time by a new
// connection, as many clients would, and keeps what came of it.
type client struct {
	url string

	mu       sync.Mutex // protects the fields below
	requests []request
	more     chan struct{} // closed and replaced at each answer
}

func newClient(address string) *client {
	return &client{url: "http://" + address + "/", more: make(chan struct{})}
}

// run asks until ctx is done.
func (c *client) run(ctx context.Context) {
	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: requestTimeout}
	turn := time.NewTicker(requestPause)
	defer turn.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-turn.C:
		}
		r := request{sent: time.Now()}
		r.by, r.err = c.ask(ctx, browser)
		r.answered = time.Now()
		if ctx.Err() != nil {
			return // the end of the demo is not the server's fault
		}
		c.keep(r)
	}
}

func (c *client) ask(ctx context.Context, browser *http.Client) (by string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", c.url, err)
	}
	answer, err := browser.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1000))
	if err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", c.url, err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", c.url, answer.Status)
	}
	return strings.TrimSpace(string(text)), nil
}

func (c *client) keep(r request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	close(c.more)
	c.more = make(chan struct{})
}

// since returns the requests sent at a time or later, and the channel that tells
// of the next one.
func (c *client) since(t time.Time) ([]request, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := len(c.requests) // they are in order
	for first > 0 && !c.requests[first-1].sent.Before(t) {
		first--
	}
	return c.requests[first:len(c.requests):len(c.requests)], c.more
}

// wait returns when seen is content with the requests sent since a time.
func (c *client) wait(ctx context.Context, since time.Time, seen func([]request) bool) error {
	for {
		requests, more := c.since(since)
		if seen(requests) {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A tally counts answers by server, and errors.
type tally struct {
	requests, errors int
	by               map[string]int
	lastError        *request
}

func count(requests []request) tally {
	t := tally{requests: len(requests), by: map[string]int{}}
	for i := range requests {
		if r := &requests[i]; r.err != nil {
			t.errors++
			t.lastError = r
			continue
		}
		t.by[requests[i].by]++
	}
	return t
}

// answeredBy is content when each of the servers has answered since the last
// error.
func answeredBy(webs []*web) func([]request) bool {
	return func(requests []request) bool {
		good := map[string]bool{}
		for _, r := range requests {
			if r.err != nil {
				clear(good)
				continue
			}
			good[r.by] = true
		}
		return len(good) == len(webs)
	}
}
