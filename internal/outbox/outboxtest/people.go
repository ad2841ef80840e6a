package outboxtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/monitord/monitord/alerts"
)

// People read what a mail server delivers, in that order, and believe the last word on
// each watch and host.
type People struct {
	Truth map[string]bool   // by "watch host": whether it is down
	Hosts map[string][]bool // by watch: who is down

	Mu     sync.Mutex      // protects what follows
	Server string          // "up", "down", or "hangs"
	Fails  map[string]bool // what people believe of Truth
	Read   []string        // what they read, for who looks at a failure
}

// Whole is the watch that does not count for each host by itself.
const Whole = "c"

// NewPeople returns people of three watches, a mail server that is up, and nothing that
// fails.
func NewPeople() *People {
	return &People{Server: "up", Fails: map[string]bool{}, Truth: map[string]bool{}, Hosts: map[string][]bool{"a": make([]bool, 3), "b": make([]bool, 3), Whole: make([]bool, 2)}}
}

// Send implements [alerts.Alert].
func (p *People) Send(ctx context.Context, e alerts.Event) error {
	p.Mu.Lock()
	server := p.Server
	p.Mu.Unlock()
	switch server {
	case "hangs":
		<-ctx.Done()
		return ctx.Err()
	case "down":
		return ErrDown
	}
	p.Mu.Lock()
	defer p.Mu.Unlock()
	if e.Group != "monitord" {
		p.Believe(e.Kind.String(), e.Service, e.Summary)
		return nil
	}
	for line := range strings.Lines(string(e.Output)) {
		if kind, rest, ok := strings.Cut(strings.TrimSpace(line), " g:"); ok {
			service, summary, _ := strings.Cut(rest, ": ")
			p.Believe(kind, service, summary)
		}
	}
	return nil
}

// Believe has people read a word on a watch. It is called with Mu held.
func (p *People) Believe(kind, service, summary string) {
	if strings.HasPrefix(service, "filler") {
		return
	}
	p.Read = append(p.Read, fmt.Sprintf("%s %s %s: %s", time.Now().Format(time.TimeOnly), kind, service, summary))
	about := strings.Fields(summary)
	if service == Whole {
		about = []string{"*"}
	}
	for _, host := range about {
		p.Fails[service+" "+host] = kind == "failure"
	}
}
