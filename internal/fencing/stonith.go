package fencing

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/runcmd"
)

// Defaults of a [Program].
const (
	DefaultTimeout = time.Minute
	DefaultPause   = time.Second
)

// A Program switches machines off and says whether they are. Its actions are "off" and
// "status". "off" is obeyed if it exits with 0. "status" says that the node is off if the
// last line of its standard output is "off" or "Status: OFF", in any case, and its exit
// status 0 or, as fence agents have it, 2. Everything else is no.
type Program struct {
	Path string
	// Call makes the arguments, without the program's name, and the standard input of
	// one call, nil for none; nil: the action and the node's name are the arguments.
	Call func(action, node string) (args []string, stdin []byte)
	// Env is added to PATH and LC_ALL=C.
	Env []string
	// Timeout is for all of one power-off; 0 means DefaultTimeout.
	Timeout time.Duration
	// Pause between two questions; 0 means DefaultPause.
	Pause time.Duration
}

// Errors of a power-off. In both cases the node may be running.
var (
	// ErrRunning: this node is being powered off already.
	ErrRunning = errors.New("a power-off of it is running already")
	// ErrUnverified: time is up, and the program has not said that it is off.
	ErrUnverified = errors.New("not verified")
)

// A Stonith powers nodes off. Its methods are safe for concurrent use.
type Stonith struct {
	program Program

	mu      sync.Mutex      // protects what follows
	running map[string]bool // by node
}

// NewStonith takes the program; it is not looked at before it is needed.
func NewStonith(p Program) *Stonith {
	if p.Timeout <= 0 {
		p.Timeout = DefaultTimeout
	}
	if p.Pause <= 0 {
		p.Pause = DefaultPause
	}
	if p.Call == nil {
		p.Call = func(action, node string) ([]string, []byte) { return []string{action, node}, nil }
	}
	p.Env = slices.Clone(p.Env)
	return &Stonith{program: p, running: map[string]bool{}}
}

// PowerOff switches a node off and waits until the program says that it is. Only nil
// means that it is certain: "off" was obeyed, and "status" said so afterwards. What
// fails is tried again until the timeout, or the end of ctx.
func (s *Stonith) PowerOff(ctx context.Context, node string) error {
	if node == "" || strings.HasPrefix(node, "-") {
		return fmt.Errorf("power off %q: not the name of a node", node)
	}
	if !s.begin(node) {
		return fmt.Errorf("power off %s: %w", node, ErrRunning)
	}
	defer s.end(node)
	ctx, cancel := context.WithTimeout(ctx, s.program.Timeout)
	defer cancel()
	if err := s.program.powerOff(ctx, node); err != nil {
		return fmt.Errorf("power off %s: %w", node, err)
	}
	return nil
}

func (s *Stonith) begin(node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[node] {
		return false
	}
	s.running[node] = true
	return true
}

func (s *Stonith) end(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, node)
}

func (p Program) powerOff(ctx context.Context, node string) error {
	obeyed := false
	var reason error
	for {
		err := p.step(ctx, node, &obeyed)
		if err == nil {
			return nil
		}
		if reason == nil || !errors.Is(err, ctx.Err()) { // That time is up tells nobody why.
			reason = err
		}
		select {
		case <-time.After(p.Pause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w): %w", ErrUnverified, ctx.Err(), reason)
		}
	}
}

// step does what is left to do. The error says why the node is not known to be off.
func (p Program) step(ctx context.Context, node string, obeyed *bool) error {
	if !*obeyed {
		r, err := p.run(ctx, "off", node)
		if err == nil && r.Exit != 0 {
			err = fmt.Errorf("%s off: %s%s", p.Path, r, firstLine(r))
		}
		if err != nil {
			return err
		}
		*obeyed = true
	}
	r, err := p.run(ctx, "status", node)
	if err == nil && !saysOff(r) {
		err = fmt.Errorf("%s status: %s%s", p.Path, r, firstLine(r))
	}
	return err
}

func (p Program) run(ctx context.Context, action, node string) (runcmd.Result, error) {
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}, p.Env...)
	args, stdin := p.Call(action, node)
	if err := monprog.Trusted(p.Path); errors.Is(err, monprog.ErrUntrusted) {
		return runcmd.Result{}, err
	}
	r, err := runcmd.Run(ctx, runcmd.Command{
		Path: p.Path, Args: append([]string{p.Path}, args...), Stdin: stdin, Env: env, Dir: "/", SeparateStderr: true, MaxOutput: 64 << 10,
	})
	if err == nil && r.TimedOut {
		err = fmt.Errorf("%s %s: %s%s: %w", p.Path, action, r, firstLine(r), ctx.Err())
	}
	return r, err
}

// saysOff is strict: a power-off that was not done costs two owners.
func saysOff(r runcmd.Result) bool {
	if r.TimedOut || r.Leftover || r.Dropped > 0 || r.Signal != 0 || r.Exit != 0 && r.Exit != 2 {
		return false
	}
	last := ""
	for lines := bufio.NewScanner(bytes.NewReader(r.Output)); lines.Scan(); {
		if line := strings.TrimSpace(lines.Text()); line != "" {
			last = line
		}
	}
	return strings.EqualFold(last, "off") || strings.EqualFold(last, "status: off")
}

// firstLine is what a program said, for people: of its errors, else of its output.
func firstLine(r runcmd.Result) string {
	for _, output := range [][]byte{r.Stderr, r.Output} {
		line, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
		if line != "" {
			return fmt.Sprintf(": %.200q", line)
		}
	}
	return ""
}
