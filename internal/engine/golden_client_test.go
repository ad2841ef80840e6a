package engine

import (
	"slices"
	"strconv"
	"strings"

	"github.com/monitord/monitord/internal/migrate/moncf"
	"github.com/monitord/monitord/internal/watch"
)

// A traceTrap is what a sender said; the events tell only which were taken.
type traceTrap struct{ Grp, Svc, Sta, Sum, Dtl string }

func (p *replayer) nextTrap() (traceTrap, bool) {
	for p.trapsSent < len(p.trace.Actions) {
		a := p.trace.Actions[p.trapsSent]
		p.trapsSent++
		if a.Trap != nil {
			return *a.Trap, true
		}
	}
	return traceTrap{}, false
}

// trap plays the senders' traps up to the one that mon took here; those before
// it were dropped by mon, and must be by us.
func (p *replayer) trap(e traceEvent) {
	for {
		sent, ok := p.nextTrap()
		if !ok {
			p.Errorf("event %d: a trap was taken that nobody sent", e.Seq)
			return
		}
		notices, err := p.set.Trap(p.now, sent.message())
		if err != nil {
			continue
		}
		v, _ := p.set.View(key(e.Service))
		if v.Exit == nil || strconv.Itoa(*v.Exit) != e.Exit {
			p.Errorf("event %d: the trap did not reach %s with status %s", e.Seq, e.Service, e.Exit)
		}
		p.take(e.Seq, notices)
		return
	}
}

// message is the trap as mon understood it. The sender quoted each value and put
// it on a line of its own; of a value with a newline only the first line was
// left, with one quote.
func (sent traceTrap) message() watch.TrapMessage {
	value := func(text string) string {
		line, rest, broken := strings.Cut(text, "\n")
		if broken && rest != "" {
			return "'" + line
		}
		return text
	}
	return watch.TrapMessage{Group: sent.Grp, Service: sent.Svc, Status: sent.Sta, Summary: value(sent.Sum), Detail: value(sent.Dtl)}
}

// droppedTraps checks that what mon dropped after its last event is dropped.
func (p *replayer) droppedTraps() {
	for {
		sent, ok := p.nextTrap()
		if !ok {
			return
		}
		if _, err := p.set.Trap(p.now, sent.message()); err == nil {
			p.Errorf("a trap for %s/%s was taken, which mon drops", sent.Grp, sent.Svc)
		}
	}
}

// client plays a line of mon's client protocol.
func (p *replayer) client(e traceEvent) {
	words := moncf.QuoteWords(e.Cmd).Words
	refused := len(e.Reply) > 0 && strings.HasPrefix(e.Reply[len(e.Reply)-1], "520")
	err := p.command(e, words)
	if (err != nil) != refused {
		p.Errorf("event %d: %q gives %v, mon's answer is %q", e.Seq, e.Cmd, err, e.Reply)
	}
}

func (p *replayer) command(e traceEvent, words []string) error {
	var notices []watch.Notice
	var err error
	switch words[0] {
	case "ack":
		notices, err = p.set.Ack(p.now, watch.Key{Group: words[1], Service: words[2]}, "", words[3])
	case "disable":
		notices, err = p.disable(words[1:])
	case "enable":
		notices, err = p.enable(words[1:])
	case "stop":
		p.set.Stop()
	case "start":
		p.set.Resume()
	case "clear":
		err = p.set.ClearTimers(p.now, watch.Key{Group: words[2], Service: words[3]})
	case "test":
		notices, err = p.test(words[1:])
	case "reset":
		p.reset(e, slices.Contains(words, "keepstate"))
		if slices.Contains(words, "stopped") {
			p.set.Stop()
		}
	case "savestate":
		p.saved = p.set.Save()
	case "list", "set", "loadstate":
	default:
		p.Fatalf("event %d: unknown command %q", e.Seq, e.Cmd)
	}
	p.take(e.Seq, notices)
	return err
}

func (p *replayer) disable(words []string) ([]watch.Notice, error) {
	switch words[0] {
	case "watch":
		return p.set.DisableWatch(p.now, words[1], watch.Mark{At: p.now})
	case "service":
		return p.set.DisableService(p.now, watch.Key{Group: words[1], Service: words[2]}, watch.Mark{At: p.now})
	default:
		return p.set.DisableHosts(p.now, watch.Mark{At: p.now}, words[1:]...)
	}
}

func (p *replayer) enable(words []string) ([]watch.Notice, error) {
	switch words[0] {
	case "watch":
		return p.set.EnableWatch(p.now, words[1])
	case "service":
		return p.set.EnableService(p.now, watch.Key{Group: words[1], Service: words[2]})
	default:
		return p.set.EnableHosts(p.now, words[1:]...)
	}
}

func (p *replayer) test(words []string) ([]watch.Notice, error) {
	lists := map[string]watch.Kind{
		"alert": watch.Failure, "upalert": watch.Up, "startupalert": watch.Startup, "ackalert": watch.Ack, "disablealert": watch.Disable,
	}
	if words[0] == "monitor" {
		return nil, nil
	}
	exit, err := strconv.Atoi(words[3])
	if err != nil {
		p.Fatalf("test with exit status %q", words[3])
	}
	return p.set.TestAlert(p.now, watch.Key{Group: words[1], Service: words[2]}, lists[words[0]], exit, strings.Join(words[4:], " "))
}

// reset is mon's reset, and with keepstate its SIGHUP.
func (p *replayer) reset(e traceEvent, keepState bool) {
	saved := p.set.Save()
	p.set.Reset(p.now, p.machines())
	if keepState {
		p.set.Restore(saved)
	}
	if on, _ := p.file.Global("startupalerts_on_reset"); on != "" && on != "0" && on != "no" {
		p.take(e.Seq, p.set.StartupAlerts(p.now))
	}
}

// restart is a new daemon with the state that the old one saved.
func (p *replayer) restart(e traceEvent) {
	p.set = watch.New(p.machines(), watch.Options{})
	if slices.Contains(e.Args, "-l") {
		p.set.Restore(p.saved)
	}
	p.take(e.Seq, p.set.Start(p.now))
}
