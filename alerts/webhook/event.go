package webhook

import (
	"fmt"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

// An event is the whole event as JSON. Keys are added, never renamed: others read
// them. Times are RFC 3339; one that is not known is left out.
type event struct {
	Kind        string `json:"kind"`              // failure, up, startup, ack, disable, trap, traptimeout, test, digest
	Testing     string `json:"testing,omitempty"` // of a test: the list that is tried
	Headline    string `json:"headline"`
	Group       string `json:"group"`
	Service     string `json:"service"`
	Description string `json:"description,omitempty"`
	Period      string `json:"period,omitempty"`
	Director    string `json:"director,omitempty"`

	Time         time.Time `json:"time,omitzero"`
	FirstFailure time.Time `json:"first_failure,omitzero"`
	LastFailure  time.Time `json:"last_failure,omitzero"`
	LastSuccess  time.Time `json:"last_success,omitzero"`

	Hosts   []host `json:"hosts"`
	Summary string `json:"summary,omitempty"`
	Output  string `json:"output,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Outage  string `json:"outage,omitempty"` // the same for a failure, its repetitions and its recovery

	Status       int               `json:"status"` // mon's number: 0 failed, 1 ok, 7 untested
	Exit         *int              `json:"exit,omitempty"`
	Previous     string            `json:"previous,omitempty"` // the output before this one
	Events       int               `json:"events"`
	Ack          string            `json:"ack,omitempty"`
	TrapIntended string            `json:"trap_intended,omitempty"`
	Env          map[string]string `json:"env,omitempty"`
}

type host struct {
	Name      string    `json:"name"`
	State     string    `json:"state"` // up, down, unknown
	Since     time.Time `json:"since,omitzero"`
	Reason    string    `json:"reason,omitempty"`
	Concerned bool      `json:"concerned"` // the event is about this host
	Disabled  bool      `json:"disabled,omitempty"`
}

// whole copies an event. The texts of monitors are bounded, but not otherwise changed:
// JSON has room for every character, and what is not UTF-8 becomes U+FFFD.
func whole(e alerts.Event, director string) event {
	out := event{
		Kind: e.Kind.String(), Headline: wording.New(e, director).Headline(),
		Group: e.Group, Service: e.Service, Description: e.Description, Period: e.Period, Director: director,
		Time: e.Time, FirstFailure: e.FirstFailure, LastFailure: e.LastFailure, LastSuccess: e.LastSuccess,
		Hosts: []host{}, Summary: bounded(e.Summary), Output: bounded(string(e.Output)), Reason: bounded(e.Reason), Outage: e.Outage,
		Status: e.Status, Exit: e.Exit, Previous: bounded(e.Previous), Events: e.Events, Ack: bounded(e.Ack), TrapIntended: e.TrapIntended,
	}
	if e.Kind == alerts.Test {
		out.Testing = e.Testing.String()
	}
	for _, h := range e.Hosts {
		out.Hosts = append(out.Hosts, host{Name: h.Name, State: h.State.String(), Since: h.Since, Reason: bounded(h.Reason), Concerned: h.Concerned, Disabled: h.Disabled})
	}
	for _, v := range e.Env {
		if out.Env == nil {
			out.Env = map[string]string{}
		}
		name, value, _ := strings.Cut(v, "=")
		out.Env[name] = value
	}
	return out
}

// bounded keeps what comes from a monitor from filling the receiver.
func bounded(text string) string {
	left := len(text) - wording.OutputLimit
	if left <= 0 {
		return text
	}
	return fmt.Sprintf("%s\n… %d more bytes left out", strings.ToValidUTF8(text[:wording.OutputLimit], "\uFFFD"), left)
}
