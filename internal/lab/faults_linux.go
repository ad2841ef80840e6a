package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/monitord/monitord/internal/netif"
)

// Start starts the program on a node, where it must not run, and returns at once.
func (l *Lab) Start(node string) error { return l.start(node, l.mark) }

func (l *Lab) start(node string, tell func(Event)) error {
	n, err := l.Node(node)
	if err != nil {
		return err
	}
	if _, err := l.programs.on(node); err == nil {
		return fmt.Errorf("start %s: the program runs already", node)
	}
	tell(Event{Node: node, What: "start"})
	p, err := l.machines[node].start(l.settings.Binary, l.settings.Args(n), l.settings.Env, n.log())
	if err != nil {
		return err
	}
	l.programs.put(node, p)
	l.timers.Go(func() {
		select {
		case <-p.ended:
			l.note(Event{Node: node, What: "the program ended: " + p.cmd.ProcessState.String()})
		case <-l.ctx.Done():
		}
	})
	return nil
}

// StartAll starts the program on every node.
func (l *Lab) StartAll() error {
	var err error
	for _, n := range l.nodes {
		err = errors.Join(err, l.Start(n.Name))
	}
	return err
}

// signal sends a signal to a node's program, as a fault of that name.
func (l *Lab) signal(node, fault string, s syscall.Signal) (*program, error) {
	p, err := l.programs.on(node)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fault, err)
	}
	l.mark(Event{Node: node, What: fault})
	return p, p.signal(s)
}

// Kill9 kills a node's program, and returns when it is dead.
func (l *Lab) Kill9(ctx context.Context, node string) error {
	return l.end(ctx, node, "kill9", syscall.SIGKILL)
}

// Stop asks a node's program to end (SIGTERM), and returns when it has.
func (l *Lab) Stop(ctx context.Context, node string) error {
	return l.end(ctx, node, "stop", syscall.SIGTERM)
}

// Restart has a node's program make way (SIGUSR2), and starts the next.
func (l *Lab) Restart(ctx context.Context, node string) error {
	if err := l.end(ctx, node, "restart", syscall.SIGUSR2); err != nil {
		return err
	}
	return l.start(node, l.note) // a part of this fault
}

// Reload has a node's program read its configuration again (SIGHUP), and returns at once.
func (l *Lab) Reload(node string) error {
	_, err := l.signal(node, "reload", syscall.SIGHUP)
	return err
}

func (l *Lab) end(ctx context.Context, node, fault string, s syscall.Signal) error {
	p, err := l.signal(node, fault, s)
	if err != nil {
		return err
	}
	return p.wait(ctx)
}

// Freeze stops a node's program where it stands (SIGSTOP), and resumes it after a time;
// 0 leaves that to Resume. It returns at once.
func (l *Lab) Freeze(node string, resume time.Duration) error {
	if _, err := l.signal(node, "freeze", syscall.SIGSTOP); err != nil || resume <= 0 {
		return err
	}
	l.timers.Go(func() {
		timer := time.NewTimer(resume)
		defer timer.Stop()
		select {
		case <-timer.C:
			if err := l.Resume(node); err != nil {
				l.note(Event{Node: node, What: err.Error()})
			}
		case <-l.ctx.Done():
		}
	})
	return nil
}

// Resume ends Freeze.
func (l *Lab) Resume(node string) error {
	_, err := l.signal(node, "resume", syscall.SIGCONT)
	return err
}

// Pull pulls a machine's cable to the common network: it loses its carrier.
func (l *Lab) Pull(ctx context.Context, machine string) error {
	return l.plug(ctx, machine, "pull", false)
}

// Plug puts the cable in again.
func (l *Lab) Plug(ctx context.Context, machine string) error {
	return l.plug(ctx, machine, "plug", true)
}

func (l *Lab) plug(ctx context.Context, machine, fault string, in bool) error {
	l.cabling.Lock()
	defer l.cabling.Unlock()
	l.mark(Event{Node: machine, What: fault})
	return l.fabric.plug(ctx, machine, in)
}

// Gateway plugs the gateway's: with false nobody reaches it, and what is behind it.
func (l *Lab) Gateway(ctx context.Context, up bool) error {
	fault := map[bool]string{true: "up", false: "down"}[up]
	return l.plug(ctx, "gateway", fault, up)
}

// Cut keeps a machine from everybody, on both networks, without loss of carrier.
func (l *Lab) Cut(ctx context.Context, machine string) error {
	return l.silence(ctx, Event{Node: machine, What: "cut"}, func(p pair) bool { return p.from.machine == machine || p.to.machine == machine })
}

// Mute keeps others from hearing a machine, which hears them, on both networks.
func (l *Lab) Mute(ctx context.Context, machine string) error {
	return l.silence(ctx, Event{Node: machine, What: "mute"}, func(p pair) bool { return p.from.machine == machine })
}

// Deafen keeps a machine from hearing others, which hear it, on both networks.
func (l *Lab) Deafen(ctx context.Context, machine string) error {
	return l.silence(ctx, Event{Node: machine, What: "deafen"}, func(p pair) bool { return p.to.machine == machine })
}

// Partition keeps two machines from hearing each other, on both networks; all others
// hear both.
func (l *Lab) Partition(ctx context.Context, a, b string) error {
	sides := []string{a, b}
	return l.silence(ctx, Event{Node: a, What: "partition from " + b}, func(p pair) bool {
		return p.from.machine != p.to.machine && slices.Contains(sides, p.from.machine) && slices.Contains(sides, p.to.machine)
	})
}

// silence marks the time before: the first pair is silent when the others may not be.
func (l *Lab) silence(ctx context.Context, e Event, match func(pair) bool) error {
	for _, name := range []string{e.Node, strings.TrimPrefix(e.What, "partition from ")} {
		if l.machines[name] == nil && name != e.What {
			return fmt.Errorf("%s: no machine %q", e.What, name)
		}
	}
	l.cabling.Lock()
	defer l.cabling.Unlock()
	l.mark(e)
	return l.fabric.silence(ctx, match)
}

// Heal ends all of Cut, Mute, Deafen and Partition.
func (l *Lab) Heal(ctx context.Context) error {
	l.cabling.Lock()
	defer l.cabling.Unlock()
	l.mark(Event{What: "heal"})
	return l.fabric.heal(ctx)
}

// RemoveAddress takes the address from a node, as a person does who means well.
func (l *Lab) RemoveAddress(ctx context.Context, node string) error {
	if _, err := l.Node(node); err != nil {
		return err
	}
	l.mark(Event{Node: node, What: "remove-address"})
	return l.Within(node, func() error { return netif.Release(ctx, "eth0", l.settings.Address) })
}

// Foreign has a machine that is no director, the stranger, take the address and say so
// to everybody; with false it gives it back.
func (l *Lab) Foreign(ctx context.Context, claims bool) error {
	l.cabling.Lock()
	defer l.cabling.Unlock()
	s := l.machines["stranger"]
	l.mark(Event{Node: "stranger", What: map[bool]string{true: "claims the address", false: "gives it back"}[claims]})
	a := l.settings.Address
	if !claims {
		return s.do(func() error { return netif.Release(ctx, "eth0", a) })
	}
	return s.do(func() error {
		err := netif.ReplaceAddress(ctx, netif.Add{Device: "eth0", Prefix: netip.PrefixFrom(a, a.BitLen()), NoDAD: true, NoPrefixRoute: true})
		if err != nil {
			return err
		}
		w, err := netif.OpenWire(ctx, "eth0")
		if err != nil {
			return err
		}
		return errors.Join(w.Announce(a), w.Close())
	})
}

// Fail ends a web server (web1 …) as sudden death would.
func (l *Lab) Fail(web string) error { return l.web(web, "fail", (*webServer).fail) }

// Return starts it again.
func (l *Lab) Return(ctx context.Context, web string) error {
	return l.web(web, "return", func(w *webServer) error { return w.serve(ctx) })
}

func (l *Lab) web(name, fault string, do func(*webServer) error) error {
	w := l.webs[name]
	if w == nil {
		return fmt.Errorf("%s: no web server %q: there are web1 to web%d", fault, name, webs)
	}
	l.mark(Event{Node: name, What: fault})
	return do(w)
}

// Switchover asks the program on the address's owner to hand the group over, to a node
// if one is named, and returns its answer.
func (l *Lab) Switchover(ctx context.Context, to string) error {
	owner := l.Owner()
	n, err := l.Node(owner)
	if err != nil {
		return fmt.Errorf("switchover: the address has the owner %q, want one", owner)
	}
	args := []string{"switchover", "--socket", n.Socket(), l.settings.Group}
	if to != "" {
		args = append(args, to)
	}
	l.mark(Event{What: strings.TrimSpace("switchover " + to)})
	_, err = l.Run(ctx, owner, args...)
	return err
}

// Run runs the program with other arguments on a node, and returns what it prints.
func (l *Lab) Run(ctx context.Context, node string, args ...string) (string, error) {
	s := l.machines[node]
	if s == nil {
		return "", fmt.Errorf("no machine %q", node)
	}
	var out, errs strings.Builder
	cmd := exec.CommandContext(ctx, l.settings.Binary, args...)
	cmd.Env = append(cmd.Environ(), l.settings.Env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err := s.do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s on %s: %w: %s", strings.Join(args, " "), node, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}
