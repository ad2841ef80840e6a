package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/monitord/monitord/internal/mailsink"
)

// victim is the index of the server that dies.
const victim = 1

// calm is how long the client is watched where nothing is to happen.
const calm = time.Second

// moments are what the story measures from.
type moments struct {
	served time.Time // all servers have answered
	death  time.Time
	out    time.Time // the status says that the dead server is out
	back   time.Time // the server runs again
	in     time.Time // the first request that it answered again was sent
	end    time.Time

	downMail mailsink.Message
}

// A part of the story is done when what it promises has been seen.
type part struct {
	promise string
	play    func(context.Context) error
}

func (d *demo) parts() []part {
	return []part{
		{"all three web servers serve through the virtual service", d.serve},
		{"the server that dies is out of the pool", d.die},
		{"the DOWN mail arrives", d.tell},
		{"no more request is sent to it", d.spare},
		{"the server that returns is put back and serves", d.giveBack},
		{"the UP mail arrives in the same thread", d.tellAgain},
		{"all three serve again, without an error", d.check},
	}
}

// play plays all parts, and says what was missing.
func (d *demo) play(ctx context.Context) error {
	d.scenery()
	parts := d.parts()
	for i, p := range parts {
		err := p.play(ctx)
		if err == nil {
			d.done = append(d.done, p.promise)
			continue
		}
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		d.event(red, "MISSING: %s", p.promise)
		for _, later := range parts[i+1:] {
			d.more("not reached: %s", later.promise)
		}
		return fmt.Errorf("missing: %s: %w", p.promise, err)
	}
	d.table()
	return nil
}

func (d *demo) scenery() {
	for _, w := range d.webs {
		d.event(plain, "%s serves at http://%s", w.name, w.address)
	}
	d.event(plain, "a mail server listens at %s", d.mails.Addr())
}

// serve starts the daemon and waits until it has put all servers in. The port
// that was free for the virtual service may have been taken meanwhile; then it is
// tried once more with another.
func (d *demo) serve(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		if err := d.launch(); err != nil {
			return err
		}
		d.event(plain, "%s run -c %s  (pid %d)", d.monitord, d.config, d.daemon.pid())
		d.more("the virtual service is http://%s, a client asks there every %s", d.virtual, ms(requestPause))
		err := d.served(ctx)
		if !errors.Is(err, errPortTaken) || attempt == 2 {
			return err
		}
		d.event(yellow, "somebody else took %s: once more", d.virtual)
		if err := d.halt(); err != nil {
			return err
		}
	}
}

// served waits for answers of all servers.
func (d *demo) served(ctx context.Context) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	unlessTaken, cancel := d.unlessPortTaken(ctx)
	defer cancel()
	if err := d.client.wait(unlessTaken, d.start, answeredBy(d.webs)); err != nil {
		return err
	}
	d.moments.served = time.Now()
	d.event(green, "all three serve through the virtual service")
	return d.quiet(ctx, calm)
}

var errPortTaken = errors.New("the address of the virtual service was taken")

// unlessPortTaken returns a context that ends when the daemon complains of the
// virtual service's address.
func (d *demo) unlessPortTaken(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ctx.Err() == nil {
			if d.daemon.portTaken() {
				end(errPortTaken)
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return ctx, func() {
		end(nil)
		<-watched
	}
}

// quiet lets a time pass.
func (d *demo) quiet(ctx context.Context, t time.Duration) error {
	select {
	case <-time.After(t):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// die kills a server and waits until it has left the pool.
func (d *demo) die(ctx context.Context) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	w := d.webs[victim]
	d.moments.death = time.Now()
	if err := w.kill(); err != nil {
		return err
	}
	d.event(red, "%s dies: its port is closed, its connections are cut", w.name)
	s, err := d.untilServer(ctx, w.address, func(s serverStatus) bool { return !s.In })
	if err != nil {
		return err
	}
	d.moments.out = time.Now()
	d.event(green, "%s is out of the pool", w.name)
	d.more("%s after its death, says monitord status --json", ms(s.Since.Sub(d.moments.death)))
	return nil
}

// spare watches the client while the server is out, and shows what the daemon
// knows.
func (d *demo) spare(ctx context.Context) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	if err := d.quiet(ctx, calm); err != nil {
		return err
	}
	w := d.webs[victim]
	d.lost(w)
	if err := d.nothingSent(w); err != nil {
		return err
	}
	text, err := d.daemon.status(ctx)
	if err != nil {
		return err
	}
	d.event(plain, "monitord status")
	d.block(string(text))
	return nil
}

// lost says what the death cost the client. The relay asks the next server if one
// refuses, so that often it costs nothing.
func (d *demo) lost(w *web) {
	requests, _ := d.client.since(d.moments.death)
	all := count(requests)
	d.event(green, "no more request is sent to %s", w.name)
	if all.lastError == nil {
		d.more("no request failed since its death, not even at first: the relay tried the next server")
		return
	}
	d.more("%d of %d requests failed since its death, the last %s after it",
		all.errors, all.requests, ms(all.lastError.answered.Sub(d.moments.death)))
}

// nothingSent fails if a request went wrong after its server was out.
func (d *demo) nothingSent(w *web) error {
	requests, _ := d.client.since(d.moments.out)
	if t := count(requests); t.errors > 0 {
		return fmt.Errorf("%s was out, and still %d of %d requests failed: %w", w.name, t.errors, t.requests, t.lastError.err)
	}
	return nil
}

// tell waits for the mail about the death.
func (d *demo) tell(ctx context.Context) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	m, err := d.mail(ctx, "failure")
	if err != nil {
		return err
	}
	d.moments.downMail = m
	d.event(yellow, "mail: %s", m.Subject())
	d.more("%s after its death, to %s", ms(m.Time.Sub(d.moments.death)), strings.Join(m.To, ", "))
	return nil
}

// mail waits for a mail of that kind about the victim, and ignores others.
func (d *demo) mail(ctx context.Context, kind string) (mailsink.Message, error) {
	for {
		m, err := d.mails.Next(ctx)
		if ctx.Err() != nil {
			return m, context.Cause(ctx)
		}
		if err != nil {
			return m, err
		}
		if m.Header("X-Monitord-Kind") == kind && strings.Contains(m.Subject(), d.webs[victim].address) {
			return m, nil
		}
		d.event(yellow, "another mail: %s", m.Subject())
	}
}

// giveBack starts the server again and watches it come back into the pool.
func (d *demo) giveBack(ctx context.Context) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	w := d.webs[victim]
	if err := w.start(); err != nil {
		return err
	}
	d.moments.back = time.Now()
	d.event(green, "%s returns", w.name)
	s, err := d.untilServer(ctx, w.address, func(s serverStatus) bool { return s.In })
	if err != nil {
		return err
	}
	err = d.client.wait(ctx, d.moments.back, func(requests []request) bool {
		for _, r := range requests {
			if r.by == w.name {
				d.moments.in = r.sent
				return true
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	d.event(green, "%s is back in the pool and serves", w.name)
	d.more("put in %s after its return, says monitord status --json", ms(s.Since.Sub(d.moments.back)))
	d.more("%s after its return the first request that it answered was sent", ms(d.moments.in.Sub(d.moments.back)))
	return nil
}

// tellAgain waits for the mail about the recovery.
func (d *demo) tellAgain(ctx context.Context) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	m, err := d.mail(ctx, "up")
	if err != nil {
		return err
	}
	d.event(yellow, "mail: %s", m.Subject())
	d.more("%s after its return", ms(m.Time.Sub(d.moments.back)))
	thread, first := m.Header("In-Reply-To"), d.moments.downMail.Header("In-Reply-To")
	if thread == "" || thread != first {
		return fmt.Errorf("the mails are not in one thread: In-Reply-To is %q for DOWN and %q for UP", first, thread)
	}
	d.more("in the thread of the first: both are In-Reply-To %s", thread)
	return nil
}

// check watches all three serve, and looks for errors where none may be.
func (d *demo) check(ctx context.Context) error {
	ctx, cancel := d.within(ctx)
	defer cancel()
	if err := d.client.wait(ctx, d.moments.in, answeredBy(d.webs)); err != nil {
		return err
	}
	if err := d.quiet(ctx, calm); err != nil {
		return err
	}
	d.moments.end = time.Now()
	for _, p := range d.phases() {
		if t := p.tally; t.errors > 0 && !p.mayFail {
			return fmt.Errorf("%d of %d requests failed while %q: %w", t.errors, t.requests, p.name, t.lastError.err)
		}
	}
	d.event(green, "all three serve again")
	return nil
}

// A phase is a time between two moments, with what the client saw in it.
type phase struct {
	name    string
	lasted  time.Duration
	mayFail bool
	tally   tally
}

func (d *demo) phases() []phase {
	m, name := d.moments, d.webs[victim].name
	part := func(text string, from, to time.Time) phase {
		requests, _ := d.client.since(from)
		for len(requests) > 0 && !requests[len(requests)-1].sent.Before(to) {
			requests = requests[:len(requests)-1]
		}
		return phase{name: text, lasted: to.Sub(from), tally: count(requests)}
	}
	all := []phase{
		part("all three serve", m.served, m.death),
		part(name+" is dead and not yet out", m.death, m.out),
		part(name+" is out", m.out, m.back),
		part(name+" has returned and is not yet in", m.back, m.in),
		part("all three serve again", m.in, m.end),
	}
	all[1].mayFail = true
	return all
}

// table sums up what the client saw.
func (d *demo) table() {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "requests\t")
	for _, w := range d.webs {
		fmt.Fprintf(table, "%s\t", w.name)
	}
	fmt.Fprint(table, "errors\tms\t  phase\n")
	for _, p := range d.phases() {
		fmt.Fprintf(table, "%d\t", p.tally.requests)
		for _, w := range d.webs {
			fmt.Fprintf(table, "%d\t", p.tally.by[w.name])
		}
		fmt.Fprintf(table, "%d\t%d\t  %s\n", p.tally.errors, p.lasted.Milliseconds(), p.name)
	}
	_ = table.Flush() // it writes to memory
	d.block(text.String())
}

// verdict is the last word, once all has ended well.
func (d *demo) verdict() {
	for _, promise := range d.done {
		d.write("  " + d.paint(green, "seen") + "  " + promise)
	}
	d.write("  " + d.paint(green, "seen") + "  the daemon ends when told to, and leaves nothing behind")
}
