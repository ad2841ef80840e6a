// Package daemon puts the parts together: the configuration, the pool and what
// forwards its connections, the engine and the control socket; and takes them
// apart again in the reverse order, in bounded time.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/kernel"
	"github.com/monitord/monitord/internal/migrate/mon"
	"github.com/monitord/monitord/internal/state"
)

// grace is how long alerts that are being sent may go on when the daemon ends.
const grace = 10 * time.Second

// reloadPatience bounds what a reload asks of the pool's backend.
const reloadPatience = 30 * time.Second

// Options are what the command line decides.
type Options struct {
	// ConfigFile is read at the start and at each reload.
	ConfigFile string
	// Socket is the path of the control socket instead of the configuration's; empty:
	// that. A mon.cf has no word for it.
	Socket string
	// Log gets everything that is worth knowing.
	Log *logrus.Logger
	// Hangup makes the daemon reload, as SIGHUP does. What comes during the start
	// is served after it.
	Hangup <-chan os.Signal
	// Quit makes the daemon end and leave everything as it is for the next process, as
	// SIGUSR2 does.
	Quit <-chan os.Signal
	// Node is the name of this machine among the directors; empty: it is found out.
	Node string
	// Started is called when all is running; nil is nobody.
	Started func()
	// ConfigureLog is called with each configuration that comes into force, before all
	// else; its error, that the log cannot go where it should, keeps it from that.
	ConfigureLog func(config.Log) error
	// Version is shown in the status.
	Version string
}

// Run runs a daemon until ctx is done. An error means that it could not start.
func Run(ctx context.Context, o Options) error {
	d, err := assemble(ctx, o)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // it was ended before it had begun
	}
	if err != nil {
		return err
	}
	return d.run(ctx)
}

// A daemon is the running parts.
type daemon struct {
	Options
	started time.Time
	store   *state.Store // nil if the state cannot be kept
	history *state.Journal
	backend forwarder
	// poolState keeps what the pool remembers.
	poolState *keeper[lvs.Memory]
	pool      *latePool
	engine    *engine.Engine
	cluster   *cluster // nil: there are no groups
	listener  net.Listener
	ailing    chan struct{} // holds one token: the backend refused something

	reloading sync.Mutex // one reload at a time

	mu   sync.Mutex // protects site; never held while calling out
	site *config.Site
}

// A latePool is the pool that the alerts are built with, before there is one: it
// depends on the configuration that is just being read.
type latePool struct{ *lvs.Pool }

// assemble builds everything and starts nothing but listeners.
func assemble(ctx context.Context, o Options) (d *daemon, err error) {
	d = &daemon{Options: o, started: time.Now(), pool: &latePool{}, ailing: make(chan struct{}, 1)}
	if d.site, err = load(ctx, o, d.pool); err != nil {
		return nil, err
	}
	if err := o.ConfigureLog(d.site.Log); err != nil {
		return nil, fmt.Errorf("[log]: %w", err)
	}
	warn(o.Log, d.site)
	var open []func() error // closed in reverse if the rest cannot be had
	defer func() {
		for _, end := range slices.Backward(open) {
			if err != nil {
				err = errors.Join(err, end())
			}
		}
	}()
	memory := engine.Memory{MaxAge: d.site.StateAge}
	switch d.store, err = openState(ctx, d.site.StateDir); {
	case err == nil:
		memory.Store = d.store
		open = append(open, d.store.Close)
		d.history = openHistory(d.store, o.Log)
		memory.History = d.history
		open = append(open, d.history.Close)
	case isInUse(err):
		return nil, fmt.Errorf("statedir: %w", err)
	default: // to test and to forward matters more than to remember
		o.Log.WithError(err).Error("the state cannot be kept: a restart will forget who is down and who was drained")
	}
	if d.backend, err = backend(ctx, d.site, d.store, o.Log); err != nil {
		return nil, err
	}
	open = append(open, d.backend.Close)
	d.poolState = newKeeper[lvs.Memory](d.store, poolDocument, refresh(d.site.StateAge), o.Log)
	open = append(open, d.poolState.close)
	if d.pool.Pool, memory.PoolsRemember, err = newPool(ctx, d, d.backend); err != nil {
		return nil, err
	}
	if d.engine, err = engine.Resume(d.site, o.Log, memory); err != nil {
		return nil, err
	}
	if d.site.Cluster != nil {
		if d.cluster, err = openCluster(d); err != nil {
			return nil, err
		}
		open = append(open, d.cluster.closeSockets)
	}
	d.listener, err = control.Listen(ctx, d.site.Socket)
	return d, err
}

// refresh is how often the state is written though nothing changed: well within the
// age at which it would count as old.
func refresh(age time.Duration) time.Duration {
	const most = 30 * time.Second
	if age == 0 {
		return most
	}
	return min(most, max(age/4, time.Second))
}

// predecessor is how long the process before may take to let go of the state: one that
// was killed, and is replaced at once, may hold it for an instant.
const predecessor = time.Second

func openState(ctx context.Context, dir string) (*state.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, predecessor)
	defer cancel()
	return state.Await(ctx, dir)
}

func isInUse(err error) bool {
	_, is := errors.AsType[*state.InUse](err)
	return is
}

func load(ctx context.Context, o Options, pool *latePool) (*config.Site, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find out the name of this machine: %w", err)
	}
	site, err := mon.Load(ctx, o.ConfigFile, config.Host{
		Hostname: hostname, Env: os.LookupEnv, Log: AlertLog(o.Log), Pool: pool, Table: pool, Networks: Networks(), Node: o.Node, Addresses: Addresses(),
	})
	if err != nil {
		return nil, err
	}
	if isWitness(site) {
		justWatch(site)
	}
	if o.Socket != "" {
		site.Socket = o.Socket
	}
	return site, nil
}

// justWatch leaves a witness nothing but its vote: it tests nobody, and forwards
// nothing.
func justWatch(site *config.Site) {
	site.Watches, site.Virtuals, site.Quorums, site.Followers, site.Digest = nil, nil, nil, nil, nil
	site.Sync, site.LVS.Backend = nil, lvs.BackendRecord
}

func warn(log logrus.FieldLogger, site *config.Site) {
	for _, w := range site.Warnings {
		log.Warn(w.String())
	}
}

func (d *daemon) run(ctx context.Context) error {
	d.reconfigurePool(ctx, d.site)
	started := d.Log.WithFields(logrus.Fields{ // before a reload may change the site
		"watches": len(d.site.Watches), "virtual_services": len(d.site.Virtuals), "backend": d.site.LVS.Backend, "version": d.Version,
	})
	var parts sync.WaitGroup
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	parts.Go(func() { d.serve(serving) })
	parts.Go(func() { d.hangups(serving) })
	parts.Go(func() { d.tend(serving) })
	governing, stopGoverning := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGoverning()
	groupsEnded := d.startGroups(governing) // first: what is left of a lease does not wait
	engineEnded := d.startEngine(serving)
	started.Info("started")
	if d.Started != nil {
		d.Started()
	}
	leave := d.untilEnd(ctx)
	if d.cluster != nil && !leave {
		d.cluster.end(false, groupsEnded) // first: the other director waits for it
	}
	stopServing()
	awaitEngine(engineEnded, d.Log)
	parts.Wait()
	if leave {
		d.leaveTable()
	}
	if d.cluster != nil && leave {
		d.leaveGroups(groupsEnded)
	}
	stopGoverning()
	err := d.end(leave)
	d.Log.Info("ended")
	return err
}

// leaveGroups leaves them to the next process. From then on nobody renews the leases, so
// whatever may take seconds, as alerts and a slow disk do, is done before.
func (d *daemon) leaveGroups(ended <-chan struct{}) {
	d.cluster.endAlerts()
	_ = d.poolState.close() // Its error is the end's as well.
	d.cluster.end(true, ended)
}

// end closes what outlives the parts.
func (d *daemon) end(leave bool) error {
	var err error
	if d.cluster != nil {
		err = d.cluster.close(leave, d.engine)
	}
	err = errors.Join(err, d.pool.Close(), d.poolState.close())
	if d.store != nil {
		err = errors.Join(err, d.history.Close(), d.store.Close())
	}
	return err
}

// untilEnd waits for the order to end, and tells whether everything is to be left as
// it is.
func (d *daemon) untilEnd(ctx context.Context) (leave bool) {
	select {
	case <-ctx.Done():
		return false
	case <-d.Quit:
		d.Log.Info("ends, and leaves everything as it is for the next process")
		return true
	}
}

// leaveTable has the backend leave what it forwards, whatever on_exit says.
func (d *daemon) leaveTable() {
	site := *d.current()
	site.LVS.OnExit = string(kernel.OnExitKeep)
	d.backend.configure(&site)
}

func (d *daemon) serve(ctx context.Context) {
	err := control.Serve(ctx, d.listener, control.Handlers{
		Status: func() any { return d.status(ctx) }, Reload: d.reload,
		Drain: d.drain, Undrain: d.undrain, Table: func(ctx context.Context) any { return d.table(ctx) },
		Cluster: d.clusterView, Command: d.command, History: d.alertHistory,
		Operate: d.operate, Silences: func() any { return d.engine.Silences() },
	})
	if err != nil {
		d.Log.WithError(err).Error("the control socket is gone")
	}
}

// startGroups runs the groups; the channel is closed when they have ended.
func (d *daemon) startGroups(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	if d.cluster == nil {
		close(ended)
		return ended
	}
	go func() {
		defer close(ended)
		d.cluster.run(ctx, d)
	}()
	return ended
}

// startEngine runs the engine until ctx is done.
func (d *daemon) startEngine(ctx context.Context) <-chan struct{} {
	if d.cluster != nil {
		d.engine.Own(d.cluster.owners(d))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.engine.Run(ctx, grace)
	}()
	return ended
}

// awaitEngine waits for the engine that was told to end. A plugin that ignores its
// context must not keep the daemon from ending: it is left behind, and said.
func awaitEngine(ended <-chan struct{}, log logrus.FieldLogger) {
	select {
	case <-ended:
	case <-time.After(2 * grace):
		log.Error("a monitor or an alert does not end; the daemon ends without it")
	}
}

// reconfigurePool gives the pool its virtual services. One that cannot be had, as
// when its port is taken, must not cost the others: it is said, and tried again.
func (d *daemon) reconfigurePool(ctx context.Context, site *config.Site) {
	d.pool.Govern(slices.Sorted(maps.Keys(governed(site))))
	if err := d.pool.Reconfigure(ctx, site.Virtuals, site.Followers); err != nil {
		d.Log.WithError(err).Error("some virtual services cannot be served, will try again")
		select {
		case d.ailing <- struct{}{}:
		default: // it is being mended already
		}
	}
}

// tend lets the pool do what time calls for, and mend what others changed in what
// forwards. After a failure it tries again with a growing pause.
func (d *daemon) tend(ctx context.Context) {
	const first, patience = time.Second, 30 * time.Second
	every, said := d.reconcile(), ""
	pause := every
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.ailing: // which has been said
			said, pause = "not served", min(first, every)
			continue
		case <-time.After(pause):
		}
		every = d.reconcile()
		limited, cancel := context.WithTimeout(ctx, patience)
		err := d.pool.Tick(limited)
		cancel()
		switch {
		case err == nil && said != "":
			d.Log.Info("all virtual services are served as they should be")
			said, pause = "", every
		case err == nil:
			pause = every
		case ctx.Err() != nil:
			return
		default:
			if said == "" {
				pause = 0
			}
			if said != err.Error() {
				d.Log.WithError(err).Error("the virtual services are not all served as they should be, will try again")
				said = err.Error()
			}
			pause = min(max(2*pause, first), every)
		}
	}
}

func (d *daemon) reconcile() time.Duration { return d.current().LVS.Reconcile.Std() }

// current is the configuration that is in force.
func (d *daemon) current() *config.Site {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.site
}

// hangups serves reload requests one after the other.
func (d *daemon) hangups(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.Hangup:
			if err := d.reload(ctx); err != nil {
				d.Log.WithError(err).Error("the configuration was not reloaded; the old one stays in force")
			}
		}
	}
}

// reload reads the configuration and takes it over whole, or not at all.
func (d *daemon) reload(ctx context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	now := d.current()
	// Who asked may go away; half a reload is none.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadPatience)
	defer cancel()
	site, err := load(ctx, d.Options, d.pool)
	if err != nil {
		return err
	}
	if err := d.sameGroups(site); err != nil {
		return err
	}
	if site.Socket != now.Socket || site.StateDir != now.StateDir || site.LVS.Backend != now.LVS.Backend {
		return errors.New("a new \"socket\", \"statedir\" or [lvs] backend needs a restart; nothing was changed")
	}
	if err := d.ConfigureLog(site.Log); err != nil {
		return fmt.Errorf("[log]: %w", err)
	}
	warn(d.Log, site)
	d.backend.configure(site)
	d.engine.AdoptQuorums(site)
	d.reconfigurePool(ctx, site)
	d.mu.Lock()
	d.site = site
	d.mu.Unlock()
	d.engine.Reload(site)
	if d.cluster != nil {
		d.cluster.adopt(site.Cluster.Director.Digest)
	}
	return nil
}

// Status is what "monitord status" shows.
type Status struct {
	Version    string              `json:"version"`
	PID        int                 `json:"pid"`
	Started    time.Time           `json:"started"`
	ConfigFile string              `json:"config_file"`
	Engine     engine.Status       `json:"engine"`
	Virtuals   []lvs.VirtualStatus `json:"virtual_services"`
	// PoolError is why counters of the virtual services are missing.
	PoolError string `json:"pool_error,omitempty"`
	// Process is what the daemon itself uses.
	Process Usage `json:"process"`
}

func (d *daemon) status(ctx context.Context) Status {
	s := Status{Version: d.Version, PID: os.Getpid(), Started: d.started, ConfigFile: d.ConfigFile, Engine: d.engine.Status(), Process: usage()}
	var err error
	if s.Virtuals, err = d.pool.Snapshot(ctx); err != nil {
		s.PoolError = err.Error()
	}
	return s
}
