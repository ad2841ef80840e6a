//go:build linux

package clustertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/daemon"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/takeover"
)

// program is the real one, built once.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if actAs() {
		return 0
	}
	folder, err := os.MkdirTemp("", "clustertest")
	if err == nil {
		defer func() { _ = os.RemoveAll(folder) }()
		program = filepath.Join(folder, "monitord")
		err = build(program)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(file string) error {
	out, err := exec.Command("go", "build", "-o", file, "github.com/monitord/monitord/cmd/monitord").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return nil
}

const (
	// patience is for what has to come, on a machine that may be busy.
	patience = 20 * time.Second
	// noise is what a busy machine adds to an outage: the prober's pace and more.
	noise = 150 * time.Millisecond
)

// A site is a lab whose end asserts that no instant had two owners.
type site struct {
	*lab.Lab
	t *testing.T
	// strangers answer for the address beside a director: the observer, who asks by
	// ARP, cannot know that they are none. The kernels are asked as ever.
	strangers bool
}

// An edit changes a node's configuration.
type edit func(n lab.Node, text string) string

// open opens a lab with two directors and the built-in configuration, edited. Nothing
// runs yet.
func open(t *testing.T, s lab.Settings, edits ...edit) *site {
	t.Helper()
	if s.Directors == 0 {
		s.Directors = 2
	}
	if s.Binary == "" {
		s.Binary = program
	}
	s.Group, s.Address = "web", netip.MustParseAddr("10.7.0.100")
	s.Env = append(s.Env, "GORACE=atexit_sleep_ms=0")
	built := s
	s.Config = func(n lab.Node) string {
		text := built.BuiltIn(n)
		for _, e := range edits {
			text = e(n, text)
		}
		return text
	}
	s.Happened = func(e lab.Event) { t.Logf("%9.3f %s", e.At.Seconds(), e) }
	l, err := lab.Open(t.Context(), s)
	if err != nil {
		if os.Getuid() == 0 || os.Getenv("MONITORD_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skipf("network namespaces need root: %v", err)
	}
	opened := &site{Lab: l, t: t}
	t.Cleanup(opened.end)
	return opened
}

func (s *site) end() {
	d := s.Dual(0, 0)
	if d.Kernels != 0 || d.Sampled != 0 || d.Answered != 0 && !s.strangers {
		s.t.Errorf("two owners: %+v", d)
	}
	if s.t.Failed() {
		for _, n := range s.Nodes() {
			s.t.Logf("log of %s:\n%s", n.Name, s.Log(n.Name))
		}
	}
	if err := s.Close(); err != nil {
		s.t.Error(err)
	}
}

// replaced replaces a part of the configuration, which has to be there.
func replaced(t *testing.T, old, instead string) edit {
	t.Helper()
	return func(_ lab.Node, text string) string {
		if !strings.Contains(text, old) {
			t.Errorf("%q is not in the configuration:\n%s", old, text)
		}
		return strings.Replace(text, old, instead, 1)
	}
}

// eager waits for a second only for those who were never heard.
func eager(t *testing.T) edit {
	t.Helper()
	return replaced(t, "[cluster]\n", "[cluster]\ninitdead = \"1s\"\n")
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// pass waits.
func pass(d time.Duration) { <-time.After(d) }

func (s *site) eventually(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !is(); pass(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("it does not happen: %s", what)
		}
	}
}

// owned waits until a director, and nobody else, has the address; "" is nobody.
func (s *site) owned(node string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	s.must(s.AwaitOwner(ctx, node))
}

// served waits until a director answers the client, after now.
func (s *site) served(node string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	s.must(s.AwaitAnswer(ctx, lab.Client, node, netif.Boottime()))
}

// answers tells whether a director answers the client within the time that the prober's
// pace and a busy machine need; it is for what is asked again and again.
func (s *site) answers(node string) bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	return s.AwaitAnswer(ctx, lab.Client, node, netif.Boottime()) == nil
}

// begins starts the first director, then the others, and returns when all hear each
// other, each knows of each that it could take over, and the client is served.
func (s *site) begins() {
	s.t.Helper()
	s.must(s.StartAll())
	s.owned("dr1")
	s.served("dr1")
	for _, n := range s.Nodes() {
		s.eventually(n.Name+" hears the others, who could take over", func() bool { return s.hears(n.Name) })
	}
}

// hears tells whether a node hears all others, and they can take each group, by what it
// knows of them.
func (s *site) hears(node string) bool {
	v, err := s.view(node)
	if err != nil {
		return false
	}
	for _, other := range v.Nodes {
		if !other.Self && other.State != "alive" {
			return false
		}
	}
	for _, g := range v.Groups {
		if slices.ContainsFunc(g.Nodes, func(c takeover.ClaimView) bool { return !c.Able }) {
			return false
		}
	}
	return true
}

// switchover has an operator move the group, when its owner knows that the other one can
// take it: who has just begun to stand by has to find its gateway, and to say so.
func (s *site) switchover(to string) {
	s.t.Helper()
	s.eventually(to+" can take the group, as its owner knows", func() bool { return s.able(s.Owner(), to) })
	s.must(s.Switchover(s.t.Context(), to))
}

// able tells whether a node can take the group, as another one knows.
func (s *site) able(by, node string) bool {
	v, err := s.view(by)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(v.Groups[0].Nodes, func(c takeover.ClaimView) bool { return c.Node == node && c.Able })
}

// settles waits until one director has the address and answers the client, and returns
// its name. Before that it may rightly go from one to the other, and be nobody's.
func (s *site) settles() (owner string) {
	s.t.Helper()
	s.eventually("one of them has the address and answers", func() bool {
		owner = s.Owner()
		return (owner == "dr1" || owner == "dr2") && s.answers(owner) && s.Owner() == owner
	})
	return owner
}

// regains has an operator move the group to a director that was out of it, until that has
// it and answers. Who comes back may lose its gateway again at first: then it is refused,
// or hands over once more, and is right. also is what has to be so as well; nil: nothing.
func (s *site) regains(node string, also func() bool) {
	s.t.Helper()
	s.eventually(node+" has the address again and answers", func() bool {
		if owner := s.Owner(); owner != node && s.fit(node) && s.able(owner, node) {
			_ = s.Switchover(s.t.Context(), node) // it is tried again
		}
		return s.Owner() == node && s.fit(node) && (also == nil || also()) && s.answers(node)
	})
}

// moves are the changes of the address's owner since a time.
func (s *site) moves(since time.Duration) []lab.Event {
	var all []lab.Event
	for _, e := range s.Timeline() {
		if e.At > since && strings.HasPrefix(e.What, "address: ") {
			all = append(all, e)
		}
	}
	return all
}

// still asserts that the address has not moved since a time.
func (s *site) still(since time.Duration, node string) {
	s.t.Helper()
	if m := s.moves(since); len(m) > 0 || s.Owner() != node {
		s.t.Errorf("the owner is %s, want %s all the time; it moved: %v", s.Owner(), node, m)
	}
}

// logged waits until a node's program has said something.
func (s *site) logged(node, text string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%s logs %q", node, text), func() bool { return strings.Contains(s.Log(node), text) })
}

// refused asserts that a daemon does not start, and says why in one line.
func (s *site) refused(machine string, args []string, words ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, err := s.Run(ctx, machine, append([]string{"run"}, args...)...)
	if err == nil || ctx.Err() != nil {
		s.t.Fatalf("%v is not refused: %v %s", args, err, out)
	}
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	var errors []string
	for _, l := range lines {
		if !strings.Contains(l, "level=info") && !strings.Contains(l, "level=warning") {
			errors = append(errors, l)
		}
	}
	if len(errors) != 1 {
		s.t.Errorf("%d lines about one thing:\n%s", len(errors), err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.t.Errorf("%q is not in: %v", w, err)
		}
	}
}

func (s *site) node(name string) lab.Node {
	s.t.Helper()
	n, err := s.Node(name)
	s.must(err)
	return n
}

// view is what "monitord cluster" shows on a node.
func (s *site) view(node string) (v daemon.ClusterView, err error) {
	n, err := s.Node(node)
	if err != nil {
		return v, err
	}
	out, err := s.Run(s.t.Context(), node, "cluster", "--json", "--socket", n.Socket())
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	return v, err
}

// role is what a node is for the group, by its own word.
func (s *site) role(node string) string {
	v, err := s.view(node)
	if err != nil {
		return err.Error()
	}
	for _, g := range v.Groups {
		for _, c := range g.Nodes {
			if c.Node == node {
				return c.Role
			}
		}
	}
	return "none"
}

// pid is the process on a node that answers.
func (s *site) pid(node string) int {
	s.t.Helper()
	out, err := s.Run(s.t.Context(), node, "status", "--json", "--socket", s.node(node).Socket())
	s.must(err)
	var status daemon.Status
	s.must(json.Unmarshal([]byte(out), &status))
	return status.PID
}

// outage asserts what a view missed since a time, as far as it asked: the prober of a
// busy machine may not be let run either.
func (s *site) outage(v lab.View, since, most time.Duration) {
	s.t.Helper()
	if o := s.Outage(v, since, 0); o.Asked == 0 || o.Lasted-o.Unasked > most {
		s.t.Errorf("%s: outage %s, %s of it not asked for (asked %d, lost %d), want at most %s", v, o, o.Unasked, o.Asked, o.Lost, most)
	}
}

// bound is the machine's own for a fault, with what kernel and prober add.
func (s *site) bound(f director.Failure) time.Duration {
	s.t.Helper()
	c := director.Config{
		Self: "dr1", Nodes: []director.Node{{Name: "dr1"}, {Name: "dr2"}}, Groups: []director.Group{{Name: "web"}},
		Gateways: []string{"10.7.0.1"}, Timings: director.DefaultTimings(),
	}
	all, err := director.Bounds(c)
	s.must(err)
	for _, b := range all {
		if b.Failure == f {
			return b.Limit + noise
		}
	}
	s.t.Fatalf("no bound for %s", f)
	return 0
}

// stop ends a node's program, in bounded time.
func (s *site) stop(node string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	s.must(s.Stop(ctx, node))
}

// writeProgram writes a script. A fork between open and close would inherit the file,
// and its start fail (ETXTBSY).
func writeProgram(path, script string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(script), 0o755)
}
