// Package control is how the command line talks to a running daemon: a few JSON
// calls over a unix socket that only its owner may open.
//
//	GET  /status      what the daemon knows
//	POST /reload      read the configuration again, all or nothing
//	GET  /table       what should be forwarded, and what is
//	POST /drain       have a real server leave
//	POST /undrain     take that back
//	GET  /cluster     the directors, and who holds what
//	POST /command     an operator's word about that
//	POST /operate     an operator's word about watches: ack, disable, silence, ...
//	GET  /silences    the silences
//	POST /history     the alerts of the past, and those that wait
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrInUse says that another daemon answers on the socket.
var ErrInUse = errors.New("another daemon answers on this socket")

// ErrNotRunning says that no daemon answers on the socket.
var ErrNotRunning = errors.New("no daemon answers on this socket; --socket names another")

// shutdownGrace is how long calls in progress may take when the server ends.
const shutdownGrace = 2 * time.Second

// Handlers are what the server answers with.
type Handlers struct {
	// Status returns something that JSON can write.
	Status func() any
	// Reload returns when the new configuration is in force, or why it is not.
	Reload func(ctx context.Context) error
	// Table returns something that JSON can write.
	Table func(ctx context.Context) any
	// Drain and Undrain return the names of the virtual services concerned.
	Drain, Undrain func(context.Context, Order) ([]string, error)
	// Cluster returns something that JSON can write; an error if there is none.
	Cluster func(ctx context.Context) (any, error)
	// Command returns what there is to say to it.
	Command func(context.Context, Command) ([]string, error)
	// Operate returns what there is to say to it.
	Operate func(context.Context, Operation) ([]string, error)
	// Silences returns something that JSON can write.
	Silences func() any
	// History returns something that JSON can write.
	History func(HistoryQuery) (any, error)
}

// A HistoryQuery asks for alerts.
type HistoryQuery struct {
	Since time.Time `json:"since,omitzero"` // zero: as far as it goes back
	Watch string    `json:"watch,omitzero"` // "group:service"; empty: all
	Last  int       `json:"last,omitzero"`  // how many at most; 0: all
}

// A Command is about the directors: "switchover", "failback", "maintenance on",
// "maintenance off", "clear faults", "confirm fenced".
type Command struct {
	Command string `json:"command"`
	Group   string `json:"group,omitempty"`
	Node    string `json:"node,omitempty"`
}

// An Order is about a real server.
type Order struct {
	// Virtual is the name of a virtual service, empty for all.
	Virtual string `json:"virtual"`
	Host    string `json:"host"`
	// Seconds are the longest time to wait for connections; 0 is as configured.
	Seconds float64 `json:"seconds"`
}

// Listen opens the socket, mode 600. One that a dead daemon left behind is
// replaced; one that answers is [ErrInUse]. Missing folders are made.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, unopened(path, err)
	}
	dialer := net.Dialer{Timeout: time.Second}
	switch c, err := dialer.DialContext(ctx, "unix", path); {
	case err == nil:
		_ = c.Close() // it has told what we wanted to know
		return nil, fmt.Errorf("control socket %s: %w", path, ErrInUse)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := removeSocket(path); err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
	default:
		return nil, unopened(path, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, unopened(path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// unopened says what to do for a user who may not have a socket there.
func unopened(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("control socket %s: permission denied: run monitord as root, or set socket and statedir to where this user may write", path)
	}
	return fmt.Errorf("control socket %s: %w", path, err)
}

// removeSocket removes a dead socket, and nothing that is not one.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("control socket %s: there is something else at this path; remove it or set \"socket\" to another", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("control socket of a dead daemon: %w", err)
	}
	return nil
}

// Serve answers calls until ctx is done, and returns when the last has ended. It
// closes the listener, which removes the socket.
func Serve(ctx context.Context, l net.Listener, h Handlers) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, h.Status()) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		if err := h.Reload(r.Context()); err != nil {
			reply(w, http.StatusUnprocessableEntity, problem{err.Error()})
			return
		}
		reply(w, http.StatusOK, struct{}{})
	})
	mux.HandleFunc("GET /table", func(w http.ResponseWriter, r *http.Request) { reply(w, http.StatusOK, h.Table(r.Context())) })
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) { order(w, r, h.Drain) })
	mux.HandleFunc("POST /undrain", func(w http.ResponseWriter, r *http.Request) { order(w, r, h.Undrain) })
	mux.HandleFunc("GET /cluster", func(w http.ResponseWriter, r *http.Request) {
		view, err := h.Cluster(r.Context())
		if err != nil {
			reply(w, http.StatusUnprocessableEntity, problem{err.Error()})
			return
		}
		reply(w, http.StatusOK, view)
	})
	mux.HandleFunc("POST /history", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(_ context.Context, q HistoryQuery) (any, error) { return h.History(q) })
	})
	mux.HandleFunc("POST /command", func(w http.ResponseWriter, r *http.Request) { order(w, r, h.Command) })
	mux.HandleFunc("POST /operate", operate(h))
	mux.HandleFunc("GET /silences", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, h.Silences()) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ConnContext: withCaller}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close() // Serve returns either way
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("control socket: %w", err)
}

// maxOrder bounds what is read of a caller.
const maxOrder = 64 << 10

func order[O any](w http.ResponseWriter, r *http.Request, carryOut func(context.Context, O) ([]string, error)) {
	answer(w, r, carryOut)
}

// answer answers a call that has something to say.
func answer[Q, A any](w http.ResponseWriter, r *http.Request, about func(context.Context, Q) (A, error)) {
	var q Q
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&q); err != nil {
		reply(w, http.StatusBadRequest, problem{"the order is not understood: " + err.Error()})
		return
	}
	a, err := about(r.Context(), q)
	if err != nil {
		reply(w, http.StatusUnprocessableEntity, problem{err.Error()})
		return
	}
	reply(w, http.StatusOK, a)
}

type problem struct {
	Error string `json:"error"`
}

func reply(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // who has gone does not miss it
}

// A Client talks to the daemon on one socket.
type Client struct{ socket string }

// NewClient returns a client for a socket; it connects at each call.
func NewClient(socket string) *Client { return &Client{socket} }

// Status fills into, a pointer, with the daemon's status.
func (c *Client) Status(ctx context.Context, into any) error {
	return c.call(ctx, http.MethodGet, "/status", nil, into)
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/reload", nil, nil)
}

// Table fills into, a pointer, with what should be forwarded, and what is.
func (c *Client) Table(ctx context.Context, into any) error {
	return c.call(ctx, http.MethodGet, "/table", nil, into)
}

// Drain has a real server leave, and returns the virtual services concerned.
func (c *Client) Drain(ctx context.Context, o Order) (virtuals []string, err error) {
	err = c.call(ctx, http.MethodPost, "/drain", o, &virtuals)
	return virtuals, err
}

// Undrain takes that back.
func (c *Client) Undrain(ctx context.Context, o Order) (virtuals []string, err error) {
	err = c.call(ctx, http.MethodPost, "/undrain", o, &virtuals)
	return virtuals, err
}

// Cluster fills into, a pointer, with what the daemon knows of the directors.
func (c *Client) Cluster(ctx context.Context, into any) error {
	return c.call(ctx, http.MethodGet, "/cluster", nil, into)
}

// Command hands over an operator's word, and returns what the daemon says to it.
func (c *Client) Command(ctx context.Context, command Command) (said []string, err error) {
	err = c.call(ctx, http.MethodPost, "/command", command, &said)
	return said, err
}

// History fills into, a pointer, with the alerts of the past.
func (c *Client) History(ctx context.Context, q HistoryQuery, into any) error {
	return c.call(ctx, http.MethodPost, "/history", q, into)
}

func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
		},
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://monitord"+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return unanswered(c.socket, err)
	}
	defer answer.Body.Close()
	return read(answer, into)
}

// unanswered says why there is no answer.
func unanswered(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: %w", socket, ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied: root and the user that runs the daemon may ask it", socket)
	}
	return fmt.Errorf("ask the daemon on %s: %w", socket, err)
}

func read(answer *http.Response, into any) error {
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		var p problem
		if json.Unmarshal(text, &p) != nil || p.Error == "" {
			p.Error = string(bytes.TrimSpace(text))
		}
		return errors.New(p.Error)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}
