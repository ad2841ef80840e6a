package habench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// A Series is one fault of one contender, repeated.
type Series struct {
	Contender   Contender
	Fault       Fault
	Repetitions int
}

// Run repeats. A repetition that went wrong has no sample, and is in the error; account
// is told all that is known of it, as of those that are worth a look.
func (s Series) Run(ctx context.Context, m *Metronome, account func(string)) (r Result, err error) {
	r = Result{Contender: s.Contender.Name, Own: s.Contender.Own, Fault: s.Fault.Name, Must: s.Fault.Must, Undone: s.Fault.Undone}
	b, err := Open(ctx, s.Contender, s.Fault, m)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	for i := range s.Repetitions {
		// Spread over a second, in steps of about 0.6 of one.
		phase := time.Duration(i) * 618 * time.Millisecond % time.Second
		since := netif.Boottime()
		sample, bad := b.Repeat(ctx, phase)
		if bad == nil {
			r.Samples = append(r.Samples, sample)
		} else {
			bad = fmt.Errorf("%s, %s, repetition %d: %w", r.Contender, r.Fault, i+1, bad)
			err = errors.Join(err, bad)
		}
		if bad == nil && s.Contender.Own {
			bad = b.Judge(sample, s.Fault.Must+noticeable, noticeable)
		}
		if bad != nil {
			account(fmt.Sprintf("%s, %s, repetition %d: %v; the machine stood still for %s\n%s", r.Contender, r.Fault, i+1, bad, sample.Stalled, b.Account(since)))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return r, err
}

// noticeable is from when on one repetition is worth a look at why.
const noticeable = 50 * time.Millisecond

// duration is about how long it takes.
func (s Series) duration() time.Duration {
	each := settled + 2*time.Second + s.Fault.Lasts
	if s.Fault.Undo != nil {
		each += s.Contender.after
	}
	return each * time.Duration(s.Repetitions)
}

// RunAll runs several series in so many lanes, and returns the results in the series'
// order. told is called, by one at a time, with what each came to and with accounts of
// what went wrong.
func RunAll(ctx context.Context, all []Series, lanes int, told func(string)) ([]Result, error) {
	results, errs := make([]Result, len(all)), make([]error, len(all))
	// The longest first, so that the lanes end together.
	order := make(chan int, len(all))
	for _, i := range longestFirst(all) {
		order <- i
	}
	close(order)
	var mu sync.Mutex
	tell := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		told(text)
	}
	m := Watch(ctx)
	defer m.Close()
	var running sync.WaitGroup
	for range lanes {
		running.Go(func() {
			for i := range order {
				results[i], errs[i] = all[i].Run(ctx, m, tell)
				tell(fmt.Sprintf("%s, %s: %s", results[i].Contender, results[i].Fault, results[i]))
			}
		})
	}
	running.Wait()
	return results, errors.Join(errs...)
}

func longestFirst(all []Series) []int {
	var order []int
	for i := range all {
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(all[b].duration(), all[a].duration()) })
	return order
}
