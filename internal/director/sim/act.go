package sim

import (
	"github.com/monitord/monitord/internal/director"
)

// perform the actions of a step, in their order; the process may die between two.
func (n *node) perform(actions []director.Action) {
	process := n.process
	for _, a := range actions {
		if n.crash == 0 {
			n.die()
		}
		if n.process != process || n.w.broken != nil {
			return
		}
		if n.crash > 0 {
			n.crash--
		}
		n.act(a)
	}
}

func (n *node) act(action director.Action) {
	w := n.w
	if w.options.Verbose {
		w.log("%s > %T %+v", n.name, action, action)
	}
	switch a := action.(type) {
	case director.Send:
		w.send(n, a.To, a.Message)
	case director.Ping:
		w.ping(n, a.Gateway, n.clock())
	case director.Probe:
		w.probe(n, w.group(a.Group), a)
	case director.Save:
		n.save(w.group(a.Group), a.Epoch)
	case director.SaveMaintenance:
		n.disk.maintenance, n.maintained = a.On, a.On
	case director.StartPart:
		n.startPart(w.group(a.Group), a.Part)
	case director.StopPart:
		n.stopPart(w.group(a.Group), a.Part)
	case director.Take:
		w.log("%s takes %s", n.name, a.Group)
		n.takeEpochs[w.group(a.Group)] = n.heardEpochs[w.group(a.Group)]
		n.take(w.group(a.Group), a.NotAfter, true)
	case director.Renew:
		n.take(w.group(a.Group), a.NotAfter, false)
	case director.Drop:
		w.log("%s drops %s", n.name, a.Group)
		w.drops(n, w.group(a.Group))
		n.drop(w.group(a.Group))
	case director.Announce:
		w.announce(n, w.group(a.Group))
	case director.PowerOff:
		w.log("%s asks for a power-off of %s", n.name, a.Node)
		n.powerOff(a.Node)
	case director.Flush:
		n.flush()
	case director.Exit:
		n.exiting = true
		n.die()
	case director.Tell:
		w.tells(n, a.Notice)
	default:
		w.breaks("contract", "%s: an action nobody knows: %T", n.name, action)
	}
}
