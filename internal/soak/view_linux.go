package soak

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/control"
	"github.com/monitord/monitord/internal/lab"
)

// A view is what a daemon says of the cluster, and of itself.
type view struct {
	Connected bool `json:"connected"`
	Nodes     []struct {
		Name  string `json:"name"`
		Self  bool   `json:"self"`
		State string `json:"state"`
	} `json:"nodes"`
	Groups []struct {
		Nodes []claim `json:"nodes"`
	} `json:"groups"`
}

// A claim is what a node is for a group.
type claim struct {
	Node string `json:"node"`
	Role string `json:"role"`
}

const callTimeout = 2 * time.Second

func look(ctx context.Context, n lab.Node) (v view, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = control.NewClient(n.Socket()).Cluster(ctx, &v)
	return v, err
}

// amiss is what is not well, in a node's view.
func (v view) amiss(owner string) error {
	for _, n := range v.Nodes {
		if !n.Self && n.State != "alive" {
			return fmt.Errorf("%s is %s", n.Name, n.State)
		}
	}
	if !v.Connected {
		return errors.New("the gateway is not reached")
	}
	for _, g := range v.Groups {
		for _, c := range g.Nodes {
			want := "standby"
			if c.Node == owner {
				want = "active"
			}
			if c.Role != want && strings.HasPrefix(c.Node, "dr") {
				return fmt.Errorf("%s is %s, want %s", c.Node, c.Role, want)
			}
		}
		if !slices.ContainsFunc(g.Nodes, func(c claim) bool { return c.Node == owner }) {
			return fmt.Errorf("nothing is known of %s", owner)
		}
	}
	return nil
}
