// Package daemon puts the parts together: the configuration, the pool and what
// forwards its connections, the engine and the control socket; and takes them
// apart again in the reverse order, in bounded time.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/engine"
	"github.com/monitord/monitord/internal/lvs"
	"github.com/monitord/monitord/internal/lvs/record"
	"github.com/monitord/monitord/internal/lvs/relay"
)

// grace is how long alerts that are being sent may go on when the daemon ends.
const grace = 10 * time.Second

// reloadPatience bounds what a reload asks of the pool's backend.
const reloadPatience = 30 * time.Second

// Options are what the command line decides.
type Options struct {
	// ConfigFile is read at the start and at each reload.
	ConfigFile string
	// Log gets everything that is worth knowing.
	Log *logrus.Logger
	// Hangup makes the daemon reload, as SIGHUP does. What comes during the start
	// is served after it.
	Hangup <-chan os.Signal
	// Started is called when all is running; nil is nobody.
	Started func()
	// ConfigureLog is called with each configuration that comes into force.
	ConfigureLog func(config.Log)
	// Version is shown in the status.
	Version string
}

// Run runs a daemon until ctx is done. An error means that it could not start.
func Run(ctx context.Context, o Options) error {
	d, err := assemble(ctx, o)
	if err != nil {
		return err
	}
	return d.run(ctx)
}

// A daemon is the running parts.
type daemon struct {
	Options
	started  time.Time
	pool     *latePool
	engine   *engine.Engine
	listener net.Listener
	ailing   chan struct{} // holds one token: the backend refused something

	mu   sync.Mutex // one reload at a time; protects site
	site *config.Site
}

// A latePool is the pool that the alerts are built with, before there is one: it
// depends on the configuration that is just being read.
type latePool struct{ *lvs.Pool }

// assemble builds everything and starts nothing but listeners.
func assemble(ctx context.Context, o Options) (*daemon, error) {
	pool := &latePool{}
	site, err := load(o.ConfigFile, pool)
	if err != nil {
		return nil, err
	}
	o.ConfigureLog(site.Log)
	warn(o.Log, site)
	pool.Pool = lvs.NewPool(lvs.PoolConfig{Backend: backend(site, o.Log)})
	d := &daemon{Options: o, started: time.Now(), pool: pool, ailing: make(chan struct{}, 1), site: site}
	if d.engine, err = engine.New(site, o.Log); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	if d.listener, err = control.Listen(ctx, site.Socket); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return d, nil
}

func load(file string, pool *latePool) (*config.Site, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find out the name of this machine: %w", err)
	}
	return config.Load(file, config.Host{Hostname: hostname, Env: os.LookupEnv, Pool: pool})
}

func warn(log logrus.FieldLogger, site *config.Site) {
	for _, w := range site.Warnings {
		log.Warn(w.String())
	}
}

func backend(site *config.Site, log logrus.FieldLogger) lvs.Backend {
	if site.LVS.Backend == lvs.BackendRecord {
		return record.New(func(change string) { log.WithField("ipvsadm", change).Info("the table would change") })
	}
	return relay.New(func(err error) { log.WithError(err).Warn("relay") })
}

func (d *daemon) run(ctx context.Context) error {
	d.reconfigurePool(ctx, d.site)
	var parts sync.WaitGroup
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	parts.Go(func() {
		err := control.Serve(serving, d.listener, control.Handlers{Status: func() any { return d.status(serving) }, Reload: d.reload})
		if err != nil {
			d.Log.WithError(err).Error("the control socket is gone")
		}
	})
	parts.Go(func() { d.hangups(serving) })
	parts.Go(func() { d.mendPool(serving) })
	d.Log.WithFields(logrus.Fields{"watches": len(d.site.Watches), "virtual_services": len(d.site.Virtuals), "version": d.Version}).Info("started")
	if d.Started != nil {
		d.Started()
	}
	d.runEngine(ctx)
	stopServing()
	parts.Wait()
	err := d.pool.Close()
	d.Log.Info("ended")
	return err
}

// runEngine runs the engine until ctx is done. A plugin that ignores its context
// must not keep the daemon from ending: it is left behind, and said.
func (d *daemon) runEngine(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		d.engine.Run(ctx, grace)
		close(ended)
	}()
	<-ctx.Done()
	select {
	case <-ended:
	case <-time.After(2 * grace):
		d.Log.Error("a monitor or an alert does not end; the daemon ends without it")
	}
}

// reconfigurePool gives the pool its virtual services. One that cannot be had, as
// when its port is taken, must not cost the others: it is said, and tried again.
func (d *daemon) reconfigurePool(ctx context.Context, site *config.Site) {
	if err := d.pool.Reconfigure(ctx, site.Virtuals, site.Followers); err != nil {
		d.Log.WithError(err).Error("some virtual services cannot be served, will try again")
		select {
		case d.ailing <- struct{}{}:
		default: // it is being mended already
		}
	}
}

// mendPool tries again, with a growing pause, what the pool's backend refused.
func (d *daemon) mendPool(ctx context.Context) {
	const first, longest = time.Second, time.Minute
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.ailing:
		}
		for pause := first; ; pause = min(2*pause, longest) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			if d.pool.Apply(ctx) == nil {
				d.Log.Info("all virtual services are served")
				break
			}
		}
	}
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
	d.mu.Lock()
	defer d.mu.Unlock()
	// Who asked may go away; half a reload is none.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reloadPatience)
	defer cancel()
	site, err := load(d.ConfigFile, d.pool)
	if err != nil {
		return err
	}
	if site.Socket != d.site.Socket || site.LVS != d.site.LVS {
		return errors.New("a new \"socket\" or [lvs] backend needs a restart; nothing was changed")
	}
	warn(d.Log, site)
	d.ConfigureLog(site.Log)
	d.reconfigurePool(ctx, site)
	d.site = site
	d.engine.Reload(site)
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
}

func (d *daemon) status(ctx context.Context) Status {
	s := Status{Version: d.Version, PID: os.Getpid(), Started: d.started, ConfigFile: d.ConfigFile, Engine: d.engine.Status()}
	var err error
	if s.Virtuals, err = d.pool.Snapshot(ctx); err != nil {
		s.PoolError = err.Error()
	}
	return s
}
