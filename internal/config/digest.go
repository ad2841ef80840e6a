package config

import (
	"github.com/robfig/cron/v3"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/watch"
)

// A Digest is who is told what changed, and when. The embedded watch stands for it, as
// the service "digest" of the group "monitord".
type Digest struct {
	Watch
	Cron cron.Schedule
	// Calendar is Cron as it is written: who tells another one from it goes by that.
	Calendar string
	Send     []watch.Action
}

// digestTable is [digest].
type digestTable struct {
	Cron  string `toml:"cron" doc:"Calendar of the digest, as for a watch: \"0 8 * * *\" is every morning at eight; no default."`
	Alert raw    `toml:"alert" doc:"Who is told: [{ type = \"mail\", ... }]."`
}

// digest builds who is told what changed.
func (b *builder) digest() {
	n := b.doc.Digest.node
	if n == nil {
		return
	}
	var t digestTable
	_ = b.table(n, &t, digestSection) // the problems are in the report
	d := &Digest{Watch: Watch{
		Config:  watch.Config{Key: watch.Key{Group: "monitord", Service: "digest"}},
		Actions: map[string]alerts.Alert{}, Description: "what changed since the last digest",
	}}
	if n.get("cron") == nil {
		b.problem(n.value, "the digest does not say when it is sent: write cron = \"0 8 * * *\"")
	} else if s, err := ParseCron(t.Cron); err != nil {
		b.blame(n, "cron", "cron: %v", err)
	} else {
		d.Cron, d.Calendar = s, t.Cron
	}
	if t.Alert.node == nil {
		b.problem(n.value, "the digest has no alert: nobody is told")
	}
	for i := range b.site.Watches {
		if b.site.Watches[i].Key == d.Key {
			b.problem(n.value, "the digest is the service %q of the group %q, which a watch is called too: give it another name", d.Key.Service, d.Key.Group)
		}
	}
	d.Send = b.actions(t.Alert.node, "alert", &d.Watch)
	b.site.Digest = d
}
