package habench

import (
	"context"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/lab"
)

// A Fault is one row of the table.
type Fault struct {
	Name  string
	Begin func(context.Context, *Bench) error
	// Lasts is how long it is watched before it is undone, if it is.
	Lasts time.Duration
	// Undo ends it; may be nil. Undone is what that is called.
	Undo   func(context.Context, *Bench) error
	Undone string
	// Moves: the other director takes over, and clients miss no more than the machine's
	// bound for Failure. Otherwise they miss nothing at all.
	Moves   bool
	Failure director.Failure
	// Must is the longest median; with an Undo, clients miss nothing after it.
	Must time.Duration
	// Near: the client on the directors' own network is asked.
	Near bool
	// Own: only monitord can do that.
	Own bool
}

// Faults are the table's rows, in its order.
func Faults() []Fault {
	const ms = time.Millisecond
	return []Fault{
		{Name: "kill -9 of the active daemon", Begin: killed, Lasts: 3500 * ms, Moves: true, Failure: director.DaemonKilled, Must: 150 * ms},
		{Name: "cable pull", Begin: pulled, Lasts: 3500 * ms, Moves: true, Failure: director.HostDead, Must: 240 * ms},
		{Name: "SIGTERM", Begin: stopped, Lasts: 2500 * ms, Moves: true, Failure: director.Planned, Must: 20 * ms},
		{Name: "planned switchover", Begin: switched, Lasts: 2500 * ms, Moves: true, Failure: director.Planned, Must: 20 * ms, Own: true},
		{Name: "freeze 10 s, resume", Begin: frozen, Lasts: 10 * time.Second, Undo: resumed, Undone: "resume", Moves: true, Failure: director.Frozen, Must: 150 * ms},
		{Name: "partition between the directors, heal", Begin: parted, Lasts: 5 * time.Second, Undo: healed, Undone: "heal"},
		{Name: "cable pull 20 s, re-plug", Begin: pulled, Lasts: 20 * time.Second, Undo: plugged, Undone: "re-plug", Moves: true, Failure: director.HostDead, Must: 240 * ms},
		{Name: "active cannot send, heal", Begin: muted, Lasts: 5 * time.Second, Undo: healed, Undone: "heal", Moves: true, Failure: director.OneWay, Must: 230 * ms},
		{Name: "active cannot receive, heal", Begin: deafened, Lasts: 5 * time.Second, Undo: healed, Undone: "heal", Moves: true, Failure: director.CutOff, Must: 230 * ms},
		{Name: "active cut off, carrier stays, heal", Begin: cutOff, Lasts: 5 * time.Second, Undo: healed, Undone: "heal", Moves: true, Failure: director.CutOff, Must: 230 * ms},
		{Name: "restart of the active (SIGUSR2)", Begin: restarted, Lasts: 3500 * ms, Own: true},
		{Name: "standby killed", Begin: standbyKilled, Lasts: 3500 * ms},
		{Name: "standby unplugged, re-plug", Begin: standbyPulled, Lasts: 4 * time.Second, Undo: standbyPlugged, Undone: "re-plug"},
		{Name: "gateway down 6 s (client beside the directors)", Begin: gatewayDown, Lasts: 6 * time.Second, Undo: gatewayUp, Undone: "return", Near: true},
	}
}

// view is from where the outage is measured.
func (f Fault) view() lab.View {
	if f.Near {
		return lab.NearClient
	}
	return lab.Client
}

// step is how exact an outage is: the pause between two questions.
const step = 10 * time.Millisecond

// Limit is the most that the machine itself promises, as a client can see it.
func (f Fault) Limit(c director.Config) (time.Duration, error) {
	if !f.Moves {
		return step, nil
	}
	bounds, err := director.Bounds(c)
	for _, b := range bounds {
		if b.Failure == f.Failure {
			return b.Limit + step, nil
		}
	}
	return 0, err
}

func killed(ctx context.Context, b *Bench) error {
	return b.contender.signal(ctx, b.lab, b.active, syscall.SIGKILL)
}

func frozen(ctx context.Context, b *Bench) error {
	return b.contender.signal(ctx, b.lab, b.active, syscall.SIGSTOP)
}

func resumed(ctx context.Context, b *Bench) error {
	return b.contender.signal(ctx, b.lab, b.active, syscall.SIGCONT)
}

func standbyKilled(ctx context.Context, b *Bench) error {
	return b.contender.signal(ctx, b.lab, b.standby, syscall.SIGKILL)
}

func stopped(ctx context.Context, b *Bench) error        { return b.lab.Stop(ctx, b.active) }
func switched(ctx context.Context, b *Bench) error       { return b.lab.Switchover(ctx, "") }
func restarted(ctx context.Context, b *Bench) error      { return b.lab.Restart(ctx, b.active) }
func pulled(ctx context.Context, b *Bench) error         { return b.lab.Pull(ctx, b.active) }
func plugged(ctx context.Context, b *Bench) error        { return b.lab.Plug(ctx, b.active) }
func standbyPulled(ctx context.Context, b *Bench) error  { return b.lab.Pull(ctx, b.standby) }
func standbyPlugged(ctx context.Context, b *Bench) error { return b.lab.Plug(ctx, b.standby) }
func muted(ctx context.Context, b *Bench) error          { return b.lab.Mute(ctx, b.active) }
func deafened(ctx context.Context, b *Bench) error       { return b.lab.Deafen(ctx, b.active) }
func cutOff(ctx context.Context, b *Bench) error         { return b.lab.Cut(ctx, b.active) }
func healed(ctx context.Context, b *Bench) error         { return b.lab.Heal(ctx) }
func gatewayDown(ctx context.Context, b *Bench) error    { return b.lab.Gateway(ctx, false) }
func gatewayUp(ctx context.Context, b *Bench) error      { return b.lab.Gateway(ctx, true) }
func parted(ctx context.Context, b *Bench) error {
	return b.lab.Partition(ctx, b.active, b.standby)
}
