//go:build linux

package hosts

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// A Client asks the servers of this package, from a host.
type Client struct {
	Host    *Host
	From    string        // one of the host's addresses, or "" for what the kernel takes
	Timeout time.Duration // of each request; default 5s, for the kernel may be emulated
}

const defaultTimeout = 5 * time.Second

// An Answer is what became of one request.
type Answer struct {
	Server string     // who answered; empty if nobody did
	Client netip.Addr // as the server saw it
	Err    error
	At     time.Time // when it was asked
	Took   time.Duration
}

// String is the name of the server, or the error.
func (a Answer) String() string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return a.Server
}

// Client returns a client with defaults.
func (h *Host) Client() Client { return Client{Host: h} }

// HTTP gets the URL n times, one after another, each time in a new connection.
func (c Client) HTTP(ctx context.Context, url string, n int) []Answer {
	return c.repeat(ctx, n, func(ctx context.Context) (string, error) { return c.get(ctx, url) })
}

// TCP connects n times, one after another, to the servers of [Host.ServeTCP].
func (c Client) TCP(ctx context.Context, address string, n int) []Answer {
	return c.repeat(ctx, n, func(ctx context.Context) (string, error) {
		conn, err := c.dial(ctx, "tcp", address)
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		return bufio.NewReader(conn).ReadString('\n')
	})
}

// UDP sends n datagrams, one after another, each from a new port, and waits for
// the answer to each.
func (c Client) UDP(ctx context.Context, address string, n int) []Answer {
	return c.repeat(ctx, n, func(ctx context.Context) (string, error) {
		conn, err := c.dial(ctx, "udp", address)
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte("?\n")); err != nil {
			return "", err
		}
		return bufio.NewReader(conn).ReadString('\n')
	})
}

func (c Client) repeat(ctx context.Context, n int, ask func(context.Context) (string, error)) []Answer {
	answers := make([]Answer, n)
	for i := range answers {
		answers[i] = c.once(ctx, ask)
	}
	return answers
}

func (c Client) once(ctx context.Context, ask func(context.Context) (string, error)) Answer {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := Answer{At: time.Now()}
	text, err := ask(ctx)
	a.Took = time.Since(a.At)
	if err == nil {
		a.Server, a.Client, err = parseAnswer(text)
	}
	a.Err = err
	return a
}

// parseAnswer reads "NAME ADDRESS:PORT".
func parseAnswer(text string) (server string, client netip.Addr, err error) {
	fields := strings.Fields(text)
	if len(fields) != 2 {
		return "", client, fmt.Errorf("answer %q, want a name and an address", text)
	}
	from, err := netip.ParseAddrPort(fields[1])
	if err != nil {
		return "", client, fmt.Errorf("answer %q: %w", text, err)
	}
	return fields[0], from.Addr().Unmap(), nil
}

// dial connects, and lets reads and writes end with the context's deadline.
func (c Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.Host.Dial(ctx, network, address, c.From)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

func (c Client) get(ctx context.Context, url string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: c.dial}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(body), nil
}

// Tally counts the answers of each server; failed requests count under their
// error.
func Tally(answers []Answer) map[string]int {
	count := map[string]int{}
	for _, a := range answers {
		count[a.String()]++
	}
	return count
}

// A Session is one TCP connection that lasts, to a server of [Host.ServeTCP].
type Session struct {
	Server string // who greeted

	conn    net.Conn
	lines   *bufio.Reader
	timeout time.Duration
}

// Session connects.
func (c Client) Session(ctx context.Context, address string) (*Session, error) {
	s := &Session{timeout: c.Timeout}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	dialing, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := c.dial(dialing, "tcp", address)
	if err != nil {
		return nil, err
	}
	s.conn, s.lines = conn, bufio.NewReader(conn)
	greeting, err := s.lines.ReadString('\n')
	if err == nil {
		s.Server, _, err = parseAnswer(greeting)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// Ask sends a line and returns who sent it back.
func (s *Session) Ask(line string) (server string, err error) {
	if err := s.conn.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(s.conn, line); err != nil {
		return "", err
	}
	text, err := s.lines.ReadString('\n')
	if err != nil {
		return "", err
	}
	server, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	if rest != line {
		return server, fmt.Errorf("answer %q to %q", text, line)
	}
	return server, nil
}

// Close ends the connection.
func (s *Session) Close() { _ = s.conn.Close() }

// A Prober asks at regular times, whether the last request was answered or not.
type Prober struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex // protects answers
	answers []Answer
}

// probing is how many requests of a prober may wait for an answer.
const probing = 200

// Probe gets the URL every interval, until Stop or the end of the test. Give the
// client a Timeout: an answer that comes late is counted as one.
func (c Client) Probe(ctx context.Context, url string, interval time.Duration) *Prober {
	ctx, cancel := context.WithCancel(ctx)
	p := &Prober{cancel: cancel}
	c.Host.network.t.Cleanup(func() { p.Stop() })
	slots := make(chan struct{}, probing)
	p.running.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			select {
			case slots <- struct{}{}:
			default:
				continue
			}
			p.running.Go(func() {
				defer func() { <-slots }()
				p.ask(ctx, c, url)
			})
		}
	})
	return p
}

func (p *Prober) ask(ctx context.Context, c Client, url string) {
	a := c.once(context.WithoutCancel(ctx), func(ctx context.Context) (string, error) { return c.get(ctx, url) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, a)
}

// Answers returns what came of the requests that are done so far.
func (p *Prober) Answers() []Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Answer(nil), p.answers...)
}

// Stop ends the asking, waits for what is under way, and returns all answers, in
// the order in which they came.
func (p *Prober) Stop() []Answer {
	p.cancel()
	p.running.Wait()
	return p.Answers()
}

// Failures returns those that failed.
func Failures(answers []Answer) []Answer {
	var failed []Answer
	for _, a := range answers {
		if a.Err != nil {
			failed = append(failed, a)
		}
	}
	return failed
}
