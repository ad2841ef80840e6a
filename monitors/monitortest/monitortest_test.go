package monitortest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/monitord/monitord/monitors"
)

// probe is the correct fake's: the host's name says how it behaves.
func probe(ctx context.Context, host string, _ *monitors.Timings) error {
	switch host {
	case "up":
		time.Sleep(time.Millisecond)
		return nil
	case "down":
		return errors.New("connection refused")
	}
	<-ctx.Done()
	return ctx.Err()
}

func correct() monitors.Monitor { return monitors.EachHost(20, time.Minute, probe) }

func subject(build func() monitors.Monitor) Subject {
	named := func(name string) func(testing.TB) string {
		return func(testing.TB) string { return name }
	}
	return Subject{
		New: func(testing.TB) monitors.Monitor { return build() },
		Up:  named("up"), Down: named("down"), Silent: named("silent"),
		Env: []string{"A=1"},
	}
}

func TestCorrectMonitorPasses(t *testing.T) {
	Run(t, subject(correct))
}

// TestWholeGroup passes a monitor that names no host.
func TestWholeGroup(t *testing.T) {
	s := subject(func() monitors.Monitor {
		return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
			result, err := correct().Check(ctx, r)
			if err == nil {
				err = ctx.Err()
			}
			return monitors.Result{Exit: result.Exit * 2, Output: []byte("free text")}, err
		})
	})
	s.WholeGroup = true
	Run(t, s)
}

type checkFunc func(context.Context, monitors.Request) (monitors.Result, error)

func (f checkFunc) Check(ctx context.Context, r monitors.Request) (monitors.Result, error) {
	return f(ctx, r)
}

// spoilt is the correct monitor with its result changed afterwards.
func spoilt(change func(r monitors.Request, result *monitors.Result)) func() monitors.Monitor {
	return func() monitors.Monitor {
		return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
			result, err := correct().Check(ctx, r)
			change(r, &result)
			return result, err
		})
	}
}

// wrong lists monitors that break the contract, and the check that has to notice.
func wrong() []struct {
	breaks string
	how    string
	build  func() monitors.Monitor
} {
	type fake = struct {
		breaks string
		how    string
		build  func() monitors.Monitor
	}
	verdict := func(host string, v monitors.Verdict, reason string) func() monitors.Monitor {
		return spoilt(func(_ monitors.Request, result *monitors.Result) {
			for i := range result.Hosts {
				if result.Hosts[i].Host == host {
					result.Hosts[i].Verdict, result.Hosts[i].Reason = v, reason
				}
			}
			*result = monitors.Summarise(result.Hosts)
		})
	}
	return []fake{
		{"a host that is up", "calls it down", verdict("up", monitors.Down, "no")},
		{"a host that is up", "calls it unknown", verdict("up", monitors.Unknown, "no idea")},
		{"a host that is up", "gives a reason", verdict("up", monitors.Up, "all is well")},
		{"a host that is up", "takes longer than the run", spoilt(func(_ monitors.Request, result *monitors.Result) {
			for i := range result.Hosts {
				result.Hosts[i].Took = time.Hour
			}
		})},
		{"a host that is up", "has a phase that is longer than the run", spoilt(func(_ monitors.Request, result *monitors.Result) {
			for i := range result.Hosts {
				result.Hosts[i].Timings.Connect = time.Hour
			}
		})},
		{"a host that is up", "has a phase of less than no time", spoilt(func(_ monitors.Request, result *monitors.Result) {
			for i := range result.Hosts {
				result.Hosts[i].Timings.FirstByte = -time.Second
			}
		})},
		{"a host that is up", "panics", func() monitors.Monitor {
			return checkFunc(func(context.Context, monitors.Request) (monitors.Result, error) { panic("oops") })
		}},
		{"a host that is up", "an undefined verdict", verdict("up", monitors.Verdict(9), "")},
		{"a host that is down", "calls it up", verdict("down", monitors.Up, "")},
		{"a host that is down", "calls it unknown", verdict("down", monitors.Unknown, "refused")},
		{"a host that is down", "gives no reason", verdict("down", monitors.Down, "")},
		{"a host that is down", "a reason of two lines", verdict("down", monitors.Down, "one\ntwo")},
		{"one result per host in order", "sorts the hosts", spoilt(func(_ monitors.Request, result *monitors.Result) {
			slices.SortFunc(result.Hosts, func(a, b monitors.HostResult) int { return int(a.Verdict) - int(b.Verdict) })
		})},
		{"one result per host in order", "leaves out those that are up", spoilt(func(_ monitors.Request, result *monitors.Result) {
			result.Hosts = slices.DeleteFunc(result.Hosts, func(h monitors.HostResult) bool { return h.Verdict == monitors.Up })
		})},
		{"one result per host in order", "judges the group and was not declared to", spoilt(func(_ monitors.Request, result *monitors.Result) {
			result.Hosts = nil
		})},
		{"output and exit status agree with the verdicts", "exits 0 always", spoilt(func(_ monitors.Request, result *monitors.Result) {
			result.Exit = 0
		})},
		{"output and exit status agree with the verdicts", "exits 1 always", spoilt(func(_ monitors.Request, result *monitors.Result) {
			result.Exit = 1
		})},
		{"output and exit status agree with the verdicts", "has no output", spoilt(func(_ monitors.Request, result *monitors.Result) {
			result.Output = nil
		})},
		{"output and exit status agree with the verdicts", "names all hosts", spoilt(func(_ monitors.Request, result *monitors.Result) {
			result.Output = []byte("up down\n")
		})},
		{"duplicate hosts", "keeps one of each", spoilt(func(_ monitors.Request, result *monitors.Result) {
			result.Hosts = slices.CompactFunc(result.Hosts, func(a, b monitors.HostResult) bool { return a.Host == b.Host })
		})},
		{"many hosts", "gives up after 100", spoilt(func(_ monitors.Request, result *monitors.Result) {
			for i := 100; i < len(result.Hosts); i++ {
				result.Hosts[i] = monitors.HostResult{Host: result.Hosts[i].Host, Reason: "too many"}
			}
		})},
		{"no hosts", "indexes the first", func() monitors.Monitor {
			return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
				_ = r.Hosts[0]
				return correct().Check(ctx, r)
			})
		}},
		{"no hosts", "calls it a failure", spoilt(func(r monitors.Request, result *monitors.Result) {
			if len(r.Hosts) == 0 {
				result.Exit = 1
			}
		})},
		{"no hosts", "returns an error", func() monitors.Monitor {
			return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
				if len(r.Hosts) == 0 {
					return monitors.Result{}, errors.New("no hosts")
				}
				return correct().Check(ctx, r)
			})
		}},
		{"the same again", "works once", func() monitors.Monitor {
			used := false
			return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
				if used {
					return monitors.Result{}, errors.New("connection is closed")
				}
				used = true
				return correct().Check(ctx, r)
			})
		}},
		{"an earlier result stays as it was", "uses its results' memory again", func() monitors.Monitor {
			kept := make([]monitors.HostResult, 100)
			return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
				result, err := correct().Check(ctx, r)
				result.Hosts = kept[:copy(kept, result.Hosts)]
				return result, err
			})
		}},
		{"an earlier result stays as it was", "uses its output's memory again", func() monitors.Monitor {
			var kept []byte
			return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
				result, err := correct().Check(ctx, r)
				kept = append(kept[:0], result.Output...)
				result.Output = kept
				return result, err
			})
		}},
		{"the request is not modified", "sorts the request's hosts", spoilt(func(r monitors.Request, _ *monitors.Result) {
			slices.Sort(r.Hosts)
		})},
		{"the request is not modified", "appends to the request's environment", spoilt(func(r monitors.Request, _ *monitors.Result) {
			_ = append(r.Env, "MON_GROUP=x")
		})},
		{"several watches at once", "shares one connection", sharedMonitor()},
		{"cancelled beforehand", "calls what it did not test down", verdict("silent", monitors.Down, "no answer")},
		{"cancelled beforehand", "does not look at ctx", deaf(time.Minute)},
		{"cancelled beforehand", "does not look at ctx, for a second", deaf(time.Second)},
		{"cancelled while waiting", "takes a cancelled probe for a verdict", hasty()},
		{"cancelled while waiting", "does not look at ctx", deaf(time.Minute)},
		{"cancelled while waiting", "does not look at ctx, for a second", deaf(time.Second)},
		{"the run's deadline", "takes the run's deadline for the host's", hasty()},
		{"the run's deadline", "does not look at ctx", deaf(time.Minute)},
		{"the run's deadline", "does not look at ctx, for a second", deaf(time.Second)},
		{"no goroutine is left", "leaves one behind", leaky()},
		{"no goroutine is left after a cancelled run", "leaves the silent host's behind", leaky()},
	}
}

// sharedMonitor refuses a call while another one runs, in whatever watch.
func sharedMonitor() func() monitors.Monitor {
	var busy atomic.Bool
	return func() monitors.Monitor {
		return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
			if !busy.CompareAndSwap(false, true) {
				return monitors.Result{}, errors.New("busy")
			}
			defer busy.Store(false)
			return correct().Check(ctx, r)
		})
	}
}

// deaf goes on until its own timeout, whatever ctx says, and calls nothing down.
func deaf(timeout time.Duration) func() monitors.Monitor {
	return func() monitors.Monitor {
		return checkFunc(func(_ context.Context, r monitors.Request) (monitors.Result, error) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			return correct().Check(ctx, r)
		})
	}
}

// hasty calls each host down whose probe returned an error, even the run's own.
func hasty() func() monitors.Monitor {
	return func() monitors.Monitor {
		return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
			hosts := make([]monitors.HostResult, len(r.Hosts))
			for i, host := range r.Hosts {
				hosts[i] = monitors.HostResult{Host: host, Verdict: monitors.Up}
				if err := probe(ctx, host, new(monitors.Timings)); err != nil {
					hosts[i].Verdict, hosts[i].Reason = monitors.Down, err.Error()
				}
			}
			return monitors.Summarise(hosts), nil
		})
	}
}

// leaky starts goroutines that outlive the call by an hour.
func leaky() func() monitors.Monitor {
	return func() monitors.Monitor {
		return checkFunc(func(ctx context.Context, r monitors.Request) (monitors.Result, error) {
			go time.Sleep(time.Hour)
			return correct().Check(ctx, r)
		})
	}
}

// TestWrongMonitorsFail proves that each check can fail. It runs in a bubble, so
// that waiting for the slow ones costs nothing.
func TestWrongMonitorsFail(t *testing.T) {
	tried := map[string]bool{}
	for _, w := range wrong() {
		tried[w.breaks] = true
		t.Run(w.breaks+"/"+w.how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(2 * time.Hour) // Lets the fakes' goroutines end.
				err := find(t, w.breaks).verify(t.Context(), subject(w.build).prepare(t))
				if err == nil {
					t.Fatalf("check %q passes a monitor that %s", w.breaks, w.how)
				}
				t.Log(err)
			})
		})
	}
	for _, c := range checks() {
		if !tried[c.name] {
			t.Errorf("no wrong monitor is there for check %q: it is not proven that it can fail", c.name)
		}
	}
}

// TestWrongWholeGroup: a group monitor that was cut short may not answer at all.
func TestWrongWholeGroup(t *testing.T) {
	build := spoilt(func(_ monitors.Request, result *monitors.Result) { result.Hosts = nil })
	s := subject(build)
	s.WholeGroup = true
	if err := find(t, "the run's deadline").verify(t.Context(), s.prepare(t)); err == nil {
		t.Error("a group that was not tested to the end was judged, and the check passed it")
	}
}

func find(t *testing.T, name string) check {
	t.Helper()
	i := slices.IndexFunc(checks(), func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return checks()[i]
}
