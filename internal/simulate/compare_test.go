package simulate

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/alerts"
	_ "github.com/monitord/monitord/alerts/exec"
	_ "github.com/monitord/monitord/alerts/ipvs"
	_ "github.com/monitord/monitord/alerts/mail"
	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
	"github.com/monitord/monitord/internal/migrate/mon"
	"github.com/monitord/monitord/monitors"
	_ "github.com/monitord/monitord/monitors/exec"
	_ "github.com/monitord/monitord/monitors/http"
	_ "github.com/monitord/monitord/monitors/ping"
	_ "github.com/monitord/monitord/monitors/tcp"
)

func load(t *testing.T, file string, pool alerts.Pool) *config.Site {
	t.Helper()
	site, err := mon.Load(t.Context(), file, config.Host{Hostname: "director", Env: os.LookupEnv, AnyNode: true, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	return site
}

// A real daemon's engine sends to a ledger, and finds what the script says.
type ledger struct {
	mu      sync.Mutex // protects what follows, and the cast
	entries []string
}

// An entry is an alert as it is compared.
func entry(at time.Time, watch, name, kind, period, summary, reason string) string {
	return fmt.Sprintf("%s %s %s %q %q: %s (%s)", at.Format(dated+".000"), watch, kind, name, period, summary, reason)
}

// A recorder is an alert that is only written down.
type recorder struct {
	ledger *ledger
	name   string
}

func (r recorder) Send(_ context.Context, e alerts.Event) error {
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	r.ledger.entries = append(r.ledger.entries, entry(e.Time, e.Group+":"+e.Service, r.name, e.Kind.String(), e.Period, e.Summary, e.Reason))
	return nil
}

// A careful monitor is an actor that several goroutines may ask.
type careful struct {
	*actor
	ledger *ledger
}

func (c careful) Check(ctx context.Context, r monitors.Request) (monitors.Result, error) {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return c.actor.Check(ctx, r)
}

// actionNames are those of the site's actions, for people.
func actionNames(site *config.Site) map[string]string {
	out := map[string]string{}
	for _, w := range site.Watches {
		if w.Redistribute != nil {
			out[w.Redistribute.ID] = w.Redistribute.Name
		}
		for _, p := range w.Periods {
			for _, a := range slices.Concat(p.Alerts, p.UpAlerts, p.StartupAlerts, p.AckAlerts, p.DisableAlerts) {
				out[a.ID] = a.Name
			}
		}
	}
	for _, q := range site.Quorums {
		for _, a := range slices.Concat(q.Lost, q.Had) {
			out[a.ID] = a.Name
		}
	}
	return out
}

// really plays a script to the engine of the daemon, whose clock is the bubble's,
// and returns what was sent, and who is in the pools at the end.
func really(t *testing.T, file, text string) (sent, in []string) {
	t.Helper()
	book := &ledger{}
	var e *engine.Engine
	pool := lvs.NewPool(lvs.PoolConfig{Backend: record.New(nil), Quorum: func(c lvs.QuorumChange) { e.Quorum(c) }})
	site := load(t, file, pool)
	script, err := Parse("script", []byte(text), site, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !script.From.Equal(time.Now()) {
		t.Fatalf("the script starts at %s, it is %s", script.From, time.Now())
	}
	c := newCast()
	played := c.join(site)
	name := actionNames(site)
	write := func(actions map[string]alerts.Alert) {
		for id, a := range actions {
			if _, follows := a.(alerts.Follower); !follows {
				actions[id] = recorder{book, name[id]}
			}
		}
	}
	for i := range played.Watches {
		w := &played.Watches[i]
		write(w.Actions)
		if a := c.actors[w.Key]; a != nil {
			w.Monitor = careful{a, book}
		}
	}
	for _, q := range played.Quorums {
		write(q.Actions)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	if e, err = engine.Resume(played, log, engine.Memory{}); err != nil {
		t.Fatal(err)
	}
	if err := pool.Reconfigure(t.Context(), site.Virtuals, site.Followers); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx, time.Minute) })
	for _, l := range script.Lines {
		time.Sleep(time.Until(l.At))
		switch l.act.verb {
		case down, up, unknown, exit:
			book.mu.Lock()
			c.learn(l)
			book.mu.Unlock()
		case ack, disable, enable, silence, pause, resume:
			_ = order(e, l.act) // what is not possible is not so in the rehearsal either
		case trap:
			t.Fatal("the engine takes no traps")
		}
	}
	time.Sleep(time.Until(script.To) + time.Millisecond)
	synctest.Wait()
	sent = slices.Sorted(slices.Values(book.entries))
	in = members(t, pool)
	cancel()
	running.Wait()
	return sent, in
}

func members(t *testing.T, pool *lvs.Pool) []string {
	t.Helper()
	all, err := pool.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var in []string
	for _, v := range all {
		for _, s := range v.Servers {
			if s.In {
				in = append(in, v.Name+" "+s.Host)
			}
		}
	}
	return in
}

// rehearsed is the same by the rehearsal.
func rehearsed(t *testing.T, file, text string, now time.Time) (sent, in []string, r *Report) {
	t.Helper()
	site := load(t, file, nil)
	script, err := Parse("script", []byte(text), site, now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlayer(site, script)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.play(t.Context()); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{"alert": "failure", "upalert": "up", "startupalert": "startup", "traptimeoutalert": "traptimeout"}
	for _, e := range p.report.Events {
		if e.Sent != "" {
			sent = append(sent, entry(e.At, e.Watch, e.Sent, kinds[e.Kind], e.Period, e.Summary, e.Reason))
		}
	}
	slices.Sort(sent)
	return sent, members(t, p.pools.pool), p.report
}

// story is a script made of chance: who fails when, and for how long.
func story(seed uint64) string {
	r := rand.New(rand.NewPCG(seed, 0))
	subjects := []string{
		"web:http", "web:http 192.0.2.11", "web:http 192.0.2.12 192.0.2.13", "192.0.2.13", "gateway", "db:disk", "db:sql 192.0.2.22", "mail:smtp", "*:http",
	}
	does := []string{"down", "down refused", "up", "up", "up", "unknown no socket"}
	var out strings.Builder
	out.WriteString("start 2000-01-01 00:00\n")
	for range 120 {
		// Five milliseconds beside everything that the daemon does.
		d := time.Duration(r.IntN(180))*time.Second + time.Duration(r.IntN(100))*10*time.Millisecond
		subject, what := subjects[r.IntN(len(subjects))], does[r.IntN(len(does))]
		if r.IntN(12) == 0 {
			subject, what = "db:sql", []string{"exit 3 192.0.2.21", "exit 1 no table", "exit 0", "exit 127 no such program"}[r.IntN(4)]
		}
		if r.IntN(8) == 0 {
			subject, what = "", []string{
				"ack web:http", "ack gateway:ping", "disable 192.0.2.13", "enable 192.0.2.13", "disable db:sql", "enable db:sql",
				"disable gateway", "enable gateway", "silence web 4m", "silence 192.0.2.11 10m", "pause", "resume", "resume",
			}[r.IntN(13)]
		}
		if out.Len() < 30 {
			d += 5 * time.Millisecond
		}
		fmt.Fprintf(&out, "+%s %s %s\n", d, subject, what)
	}
	out.WriteString("end +10m\n")
	return out.String()
}

// TestTheEngineDoesTheSame plays the same stories to the engine that daemons run, on
// the clock of the machine, and to the rehearsal.
func TestTheEngineDoesTheSame(t *testing.T) {
	total := 0
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			text := story(seed)
			var sent, in []string
			var now time.Time
			synctest.Test(t, func(t *testing.T) {
				now = time.Now()
				sent, in = really(t, "testdata/site.toml", text)
			})
			rehearsal, inRehearsal, report := rehearsed(t, "testdata/site.toml", text, now)
			if diff := cmp.Diff(sent, rehearsal); diff != "" {
				t.Errorf("alerts differ (-engine +rehearsal):\n%s\n%s", diff, text)
			}
			if diff := cmp.Diff(in, inRehearsal); diff != "" {
				t.Errorf("pools differ (-engine +rehearsal):\n%s\n%s", diff, text)
			}
			if report.Withheld() == 0 || report.Moves() == 0 {
				t.Errorf("nothing was held back (%d), or no pool changed (%d)", report.Withheld(), report.Moves())
			}
			total += len(sent)
		})
	}
	if total < 500 {
		t.Errorf("only %d alerts were compared", total)
	}
	t.Logf("%d alerts compared", total)
}
