package daemon

import (
	"fmt"
	"slices"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/director"
	"github.com/monitord/monitord/internal/heartbeat"
)

// relayName is the way through the gateway, among the links.
const relayName = "gateway"

// A GuardView is one of the things that keep two directors from holding the same address.
type GuardView struct {
	Name string `json:"name"`
	// Configured: the configuration has it. Live: it would count now.
	Configured bool   `json:"configured"`
	Live       bool   `json:"live"`
	Detail     string `json:"detail"`
}

// guardsNow are those of the configuration, and whether they are worth something with what
// is heard now.
func guardsNow(site *config.Cluster, v ClusterView) []GuardView {
	var all []GuardView
	for _, g := range site.Guards() {
		view := GuardView{Name: g.Name, Configured: g.Live, Live: g.Live, Detail: g.Detail}
		if why := lost(g.Name, v); g.Live && why != "" {
			view.Live, view.Detail = false, why
		}
		all = append(all, view)
	}
	return all
}

// lost is why a guard does not count now, empty if it does.
func lost(guard string, v ClusterView) string {
	voters := len(v.Nodes)
	heard := 0
	witness := ""
	for _, n := range v.Nodes {
		if there := n.Self || n.State == director.Alive.String(); there {
			heard++
		} else if n.Witness {
			witness = n.Name
		}
	}
	switch guard {
	case "gateway":
		if !v.Connected {
			return "the gateway does not answer"
		}
	case "relay":
		through := func(l LinkView) bool { return l.Name == relayName && l.State == heartbeat.LinkUp.String() }
		if !slices.ContainsFunc(v.Links, through) {
			return "no heartbeat comes through the gateway: it does not send packets back out, or no other node is there"
		}
	case "second link":
		if node := onOneLink(v); node != "" {
			return node + " is heard over one link only"
		}
	case "witness", "majority":
		switch {
		case 2*heard <= voters:
			return fmt.Sprintf("%d of %d voters are heard", heard, voters)
		case guard == "witness" && witness != "":
			return witness + " is not heard"
		}
	}
	return ""
}

// onOneLink is a living director that is heard over less than two cables.
func onOneLink(v ClusterView) string {
	for _, n := range v.Nodes {
		if n.Self || n.Witness || n.State != director.Alive.String() {
			continue
		}
		up := 0
		for _, l := range v.Links {
			if l.Node == n.Name && l.Name != relayName && l.State == heartbeat.LinkUp.String() {
				up++
			}
		}
		if up < 2 {
			return n.Name
		}
	}
	return ""
}
