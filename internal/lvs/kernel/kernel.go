// Package kernel is the backend that has the Linux kernel forward: it makes the
// table of IPVS, of the network namespace in which the access was opened, equal
// to the wanted one, and never flushes it.
//
// What is right already is left as it is, so that connections and the
// scheduler's position stay; what differs is corrected; of the rest only what
// this backend once added is removed, which [Memory] tells across restarts. A
// Set with the table of the last one compares everything with the kernel and
// mends what somebody else changed ([Repair]); one with another table trusts
// what the kernel was last seen to hold, and changes only that.
//
// Besides services and servers it keeps what they need: a few sysctls, the
// masquerade rules of fullnat, timeouts and the sync daemons.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/netif"
	"github.com/monitord/monitord/internal/nft"
)

// Config is what a backend works with.
type Config struct {
	Access     ipvs.Access // required; stays the caller's, to be closed after the backend
	Masquerade Masquerade  // default: package nft
	Sysctl     Sysctl      // default: /proc/sys
	Settings   Settings
	// Memory is what Remember was last given by the process before. It is of no
	// use if it is of another network namespace, or of the time before a reboot.
	Memory Memory
	// Namespace names the network namespace (netif.Namespace); "" is not known.
	Namespace string
	// Remember saves what is ours, before it is done and after it is undone. Its
	// error is one of Set; the table is set all the same. May be nil.
	Remember func(Memory) error
	// Tell is told what was found and mended, once. May be nil.
	Tell func(Repair)
}

// A Masquerade holds the rules that make fullnat of NAT.
type Masquerade interface {
	Set(ctx context.Context, rules []nft.Rule) error
	Clear(ctx context.Context) error
}

// A Sysctl reads and writes kernel parameters, whose keys are like
// "net.ipv4.vs.conntrack".
type Sysctl interface {
	Get(key string) (string, error)
	Set(key, value string) error
}

// Settings may change while the backend runs: [Kernel.Configure].
type Settings struct {
	Own    Own    // default OwnAdded
	OnExit OnExit // default OnExitKeep
	// Timeouts that are 0 are left as they are.
	Timeouts ipvs.Timeouts
	// Sync are the sync daemons, nil for none.
	Sync *SyncSettings
}

// Own says which services are ours to remove.
type Own string

// OwnAdded are those that this backend added or found configured; OwnAll is
// everything that is in the kernel's table.
const (
	OwnAdded Own = "added"
	OwnAll   Own = "all"
)

// OnExit says what Close does.
type OnExit string

// OnExitKeep leaves everything forwarded; OnExitRemove removes what is ours.
const (
	OnExitKeep   OnExit = "keep"
	OnExitRemove OnExit = "remove"
)

// A Repair is what a comparison with the kernel found that was not our doing,
// and mended.
type Repair struct {
	// Start says that it was the first comparison: what differed was so before
	// this process began.
	Start bool
	// Adopted are wanted services that were there already.
	Adopted []lvs.ServiceID
	// Changes are those made to what was found otherwise.
	Changes []lvs.Change
	// Other says what else was mended: sysctls, timeouts, sync daemons.
	Other []string
}

func (r Repair) empty() bool { return len(r.Adopted)+len(r.Changes)+len(r.Other) == 0 }

// A Kernel is a [lvs.Backend] and [lvs.Counter].
type Kernel struct {
	access     ipvs.Access
	masquerade Masquerade
	sysctl     Sysctl
	remember   func(Memory) error
	tell       func(Repair)

	// turn holds a token while somebody changes the kernel.
	turn chan struct{}

	mu       sync.Mutex // protects all below; never held while calling out
	settings Settings
	// generation counts the settings, so that a change of them is seen.
	generation int
	activity   lvs.Activity
	state      state
	closed     bool
}

var (
	_ lvs.Backend = (*Kernel)(nil)
	_ lvs.Counter = (*Kernel)(nil)
	_ lvs.Partner = (*Kernel)(nil)
	_ lvs.Differ  = (*Kernel)(nil)
)

// state is what is known from one Set to the next.
type state struct {
	// saved is the memory that Remember has accepted last.
	memory, saved memory
	// last is the table of the last Set and views are of it. known is what the
	// kernel held afterwards of it; services that gave an error are in doubt.
	// Neither is ever changed in place: others read them, or share their memory.
	last, views lvs.Table
	known       map[lvs.ServiceID]lvs.Service
	doubt       map[lvs.ServiceID]bool
	// trusted says that known is all, and right as far as we know.
	trusted bool
	// started says that the kernel was compared once, seen with which settings; ran is
	// the activity that the sync daemons were run for.
	started bool
	seen    int
	ran     lvs.Activity

	// needs are the sysctls that were set, rules those of fullnat that are there.
	needs []string
	rules []nft.Rule
}

// New returns a backend that has not touched the kernel yet.
func New(c Config) *Kernel {
	k := &Kernel{
		access: c.Access, masquerade: c.Masquerade, sysctl: c.Sysctl, remember: c.Remember, tell: c.Tell,
		settings: c.Settings, generation: 1, turn: make(chan struct{}, 1),
		state: state{saved: c.Memory.open()},
	}
	k.state.memory = c.Memory.in(c.Namespace).open()
	if k.masquerade == nil {
		k.masquerade = nftables{}
	}
	if k.sysctl == nil {
		k.sysctl = procSys{}
	}
	if k.remember == nil {
		k.remember = func(Memory) error { return nil }
	}
	if k.tell == nil {
		k.tell = func(Repair) {}
	}
	return k
}

// Configure has the next Set compare everything and use other settings.
func (k *Kernel) Configure(s Settings) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settings = s
	k.generation++
}

// SetActivity has the sync daemons follow who is active, from the next Set on: an
// active director sends its connections and another one receives them, whatever the
// settings say, unless these say both. While nothing is decided they are as they are.
func (k *Kernel) SetActivity(a lvs.Activity) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.activity = a
}

// Follows reports whether there are sync daemons. Connections that the kernel is told
// of are bound to the servers that it has at that moment, and one of a client with
// persistence that has none is worth nothing later (ip_vs_check_template).
func (k *Kernel) Follows() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.settings.Sync != nil
}

// Set makes the kernel's table equal to the wanted one. Errors of one service
// are a [lvs.ServiceError] and leave the others alone; that of a kernel that
// does not answer, or has no IPVS any more, ends the call. After any error the
// next call compares everything.
//
// A service of which a server could not be put in keeps the old ones rather than
// to be left without any.
func (k *Kernel) Set(ctx context.Context, wanted lvs.Table) error {
	repair, err := k.set(ctx, wanted)
	if !repair.empty() {
		k.tell(repair)
	}
	return err
}

func (k *Kernel) set(ctx context.Context, wanted lvs.Table) (Repair, error) {
	if err := k.take(ctx); err != nil {
		return Repair{}, err
	}
	defer k.release()
	r, err := k.begin(wanted)
	if err != nil {
		return Repair{}, err
	}
	err = r.run(ctx)
	r.trusted = err == nil
	k.mu.Lock()
	k.state = r.state
	k.mu.Unlock()
	return r.repair, err
}

func (k *Kernel) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("an earlier change of the kernel's table is still under way: %w", ctx.Err())
	}
}

func (k *Kernel) release() { <-k.turn }

// begin returns a round that works on a copy of the state.
func (k *Kernel) begin(wanted lvs.Table) (*round, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, lvs.ErrClosed
	}
	s := k.state
	s.memory = s.memory.clone()
	r := &round{
		Kernel: k, state: s, settings: k.settings, activity: k.activity,
		full:  !s.trusted || s.seen != k.generation || wanted.Equal(s.last),
		fresh: s.seen != k.generation,
	}
	r.seen = k.generation
	r.repair.Start = !s.started
	r.look(wanted)
	return r, nil
}

// snapshot is for readers.
func (k *Kernel) snapshot() (state, Settings) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state, k.settings
}

// Counts reads the kernel's counters of our services' servers. Those that were
// removed are counted by nobody.
func (k *Kernel) Counts(ctx context.Context) (lvs.Counts, error) {
	s, _ := k.snapshot()
	counts := lvs.Counts{}
	services, err := k.access.Services(ctx)
	if err != nil {
		return counts, err
	}
	whole := make(map[ipvs.Key]ipvs.Stats, len(services))
	for _, found := range services {
		whole[found.Key] = found.Stats
	}
	for _, service := range s.views {
		destinations, err := k.access.Destinations(ctx, keyOf(service.ID))
		if errors.Is(err, ipvs.ErrMissing) {
			continue // somebody removed it
		}
		if err != nil {
			return counts, err
		}
		by := make(map[netip.AddrPort]lvs.Count, len(destinations)+1)
		if stats, there := whole[keyOf(service.ID)]; there {
			by[netip.AddrPort{}] = countOfStats(stats)
		}
		for _, d := range destinations {
			by[d.Address] = countOf(d)
		}
		counts[service.ID] = by
	}
	return counts, nil
}

// nftables is the masquerade of package nft.
type nftables struct{}

func (nftables) Set(ctx context.Context, rules []nft.Rule) error { return nft.Set(ctx, rules) }
func (nftables) Clear(ctx context.Context) error                 { return nft.Clear(ctx) }

// procSys are the sysctls of package netif.
type procSys struct{}

func (procSys) Get(key string) (string, error) { return netif.Sysctl(key).Get() }
func (procSys) Set(key, value string) error    { return netif.Sysctl(key).Set(value) }
