package wording

import (
	"time"

	"github.com/monitord/monitord/alerts"
)

// Samples are events to try templates on: a failure and its recovery.
func Samples() []alerts.Event {
	began := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	down := alerts.Event{
		Kind: alerts.Failure, Group: "web", Service: "http", Description: "the shop", Period: "always",
		Time: began.Add(time.Minute),
		Hosts: []alerts.Host{
			{Name: "web1", State: alerts.HostUp, Since: began.Add(-time.Hour)},
			{Name: "web2", State: alerts.HostDown, Since: began, Reason: "connection refused", Concerned: true},
			{Name: "web3", Reason: "no address"},
		},
		Summary: "web2", Output: []byte("web2\nweb2 down: connection refused\n"), Reason: "failure 3 of alertafter 3",
		Exit: new(1), Previous: "\n", Events: 3, FirstFailure: began, LastFailure: began.Add(time.Minute),
		LastSuccess: began.Add(-time.Minute), Ack: "operator: on it", TrapIntended: "web:trap", Outage: "sample",
		Env: []string{"SITE=north"},
	}
	up := down
	up.Kind, up.Status, up.Exit, up.Ack = alerts.Up, 1, new(0), ""
	up.Hosts = append([]alerts.Host(nil), down.Hosts...)
	up.Hosts[1].State, up.Hosts[1].Reason = alerts.HostUp, ""
	return []alerts.Event{down, up}
}
