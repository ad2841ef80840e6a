// Package ipvs is the alert kind "ipvs": the pool of a virtual service follows
// what the watch knows about its real servers. A server that is down is taken
// out, or quiesced if the service says so, and put back when it is up again;
// nothing else is needed for the way back.
//
//	alert = [{ type = "ipvs", virtual = "web" }]
//
// It is state and not a message (see [alerts.Follower]): the watch's thresholds
// decide, while ack, silence, periods, alertevery and numalerts do not concern
// it. A host that is disabled or in an unknown state stays where it is. Hosts of
// the watch that are no real servers of the service are ignored, but one at
// least has to be.
//
// To have several pools follow one watch, write one alert for each.
package ipvs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/monitord/monitord/alerts"
)

// Config is the configuration of the kind.
type Config struct {
	Virtual string `toml:"virtual" doc:"Name of the virtual service whose pool follows this watch; no default."`
}

func init() { alerts.Register("ipvs", Config{}, build) }

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	a := &alert{virtual: c.Virtual, pool: site.Pool}
	if c.Virtual == "" {
		return nil, alerts.BadKey("virtual", "missing: write the name of a virtual service%s", a.known())
	}
	if err := a.check(); err != nil && a.pool != nil {
		return nil, alerts.BadKey("virtual", "%w", err)
	}
	return a, nil
}

type alert struct {
	virtual string
	pool    alerts.Pool
}

// Follower marks the kind as state.
func (a *alert) Follower() {}

// Virtual is the name of the service that follows. The daemon finds out by it
// which watches a pool has to listen to.
func (a *alert) Virtual() string { return a.virtual }

// Send reports the hosts of a State event to the pool. Other events change
// nothing; a Test says whether the pool could be had.
func (a *alert) Send(ctx context.Context, e alerts.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	if e.Kind != alerts.State || len(e.Hosts) == 0 {
		return nil
	}
	return a.pool.Report(ctx, a.virtual, e.Group+":"+e.Service, states(e.Hosts))
}

// states is what the pool is told. A disabled host is unknown: whoever disabled
// it wants it to stay as it is.
func states(hosts []alerts.Host) map[string]alerts.HostState {
	told := make(map[string]alerts.HostState, len(hosts))
	for _, h := range hosts {
		told[h.Name] = h.State
		if h.Disabled {
			told[h.Name] = alerts.HostUnknown
		}
	}
	return told
}

// check says why the pool could not follow.
func (a *alert) check() error {
	if a.pool == nil {
		return errors.New("there is no pool of real servers here")
	}
	if _, ok := a.pool.Servers(a.virtual); !ok {
		return fmt.Errorf("there is no virtual service %q%s", a.virtual, a.known())
	}
	return nil
}

// known lists the names that would be accepted.
func (a *alert) known() string {
	const most = 20
	if a.pool == nil {
		return ""
	}
	names := a.pool.Virtuals()
	if len(names) == 0 {
		return ": there is none, each is a table [[virtual]]"
	}
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strconv.Quote(n)
	}
	return ": there is " + strings.Join(quoted, ", ") + more
}
