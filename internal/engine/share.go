package engine

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/monitord/monitord/internal/watch"
)

const (
	shareVersion = 1
	// maxShared bounds what a document of another director may unpack to.
	maxShared = 256 << 20
)

// A share is what directors tell each other. All times in it are as if the clock had
// shown the origin when it was made: clocks of two directors may be years apart.
type share struct {
	Version int                   `json:"version"`
	Watches []watch.Told          `json:"watches"`
	Words   []watch.Word          `json:"words,omitzero"`
	Quorums map[string]quorumTold `json:"quorums,omitzero"`
}

// origin is when each document was made, by its own clock.
var origin = time.Unix(0, 0).UTC()

// mover moves times from one clock to another, by what they are before or after now.
func mover(from, to time.Time) func(time.Time) time.Time {
	return func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return to.Add(t.Sub(from))
	}
}

// Handover is what the other directors have to know, as a document for
// [Engine.Absorb]. An alert that is still on its way is not in it: who becomes the
// owner before it was delivered tells it again, twice being better than never.
func (e *Engine) Handover() ([]byte, error) {
	s, now := e.share()
	move := mover(now, origin)
	for i := range s.Watches {
		s.Watches[i] = s.Watches[i].Shift(move)
	}
	for i := range s.Words {
		s.Words[i] = s.Words[i].Shift(move)
	}
	for virtual, q := range s.Quorums {
		s.Quorums[virtual] = q.shift(move)
	}
	var out bytes.Buffer
	packed, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(packed).Encode(s); err != nil {
		return nil, fmt.Errorf("what other directors have to know: %w", err)
	}
	if err := packed.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (e *Engine) share() (share, time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	pending := e.outbox.Pending()
	s := share{Version: shareVersion, Words: e.set.Words(), Quorums: map[string]quorumTold{}}
	for _, key := range e.set.Keys() {
		t, _ := e.set.Told(now, key)
		t = e.confirm(t, pending[key])
		if e.site.Digest != nil && pending[e.site.Digest.Key] {
			t.Digested = time.Time{} // people may not have it yet
		}
		if t.By == "" {
			t.By = e.owners.Self
		}
		s.Watches = append(s.Watches, t)
	}
	for virtual, q := range e.quorums {
		s.Quorums[virtual] = e.quorumWord(now, virtual, pending[q.Key])
	}
	return s, now
}

// confirm is what people really were told: while an alert of the watch is on its way,
// what they were told before; but operators' acks at once.
func (e *Engine) confirm(t watch.Told, pending bool) watch.Told {
	if !pending {
		if len(t.Subjects) == 0 {
			delete(e.confirmed, t.Key)
		} else {
			e.confirmed[t.Key] = t.Subjects
		}
		return t
	}
	t.Subjects = watch.WithAcks(e.confirmed[t.Key], t.Subjects)
	t.Stamp-- // another word than the one that comes when it is delivered
	return t
}

// Absorb takes up what another director handed over at a time, by this one's clock.
func (e *Engine) Absorb(from string, at time.Time, document []byte) error {
	s, err := unpack(document)
	if err != nil {
		return fmt.Errorf("what %s shares: %w", from, err)
	}
	move := mover(origin, at)
	for i := range s.Watches {
		s.Watches[i] = s.Watches[i].Shift(move)
	}
	for i := range s.Words {
		s.Words[i] = s.Words[i].Shift(move)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	now, before := time.Now(), e.set.Version()
	notices := e.set.Hear(now, s.Words)
	foreign := map[watch.Key]string{}
	for _, t := range s.Watches {
		before, _ := e.set.Told(now, t.Key)
		notices = append(notices, e.set.Absorb(now, e.owners.Self, t)...)
		if after, _ := e.set.Told(now, t.Key); after.By != "" && after.By != e.owners.Self && (after.By != before.By || after.Stamp != before.Stamp) {
			foreign[t.Key] = after.By
		}
	}
	e.outbox.Forget(foreign)
	for virtual, q := range s.Quorums {
		e.absorbQuorum(virtual, q.shift(move))
	}
	if len(notices) > 0 || e.set.Version() != before {
		e.log.WithFields(logrus.Fields{"from": from}).Debug("took up what another director shares")
		e.absorbing = true // not worth a share of its own: it would be echoed for ever
		e.dispatch(notices)
		e.absorbing = false
		e.pokeTrapClock() // what was said may be for a time
	}
	return nil
}

func unpack(document []byte) (share, error) {
	packed, err := gzip.NewReader(bytes.NewReader(document))
	if err != nil {
		return share{}, err
	}
	text, err := io.ReadAll(io.LimitReader(packed, maxShared+1))
	switch {
	case err != nil:
		return share{}, err
	case len(text) > maxShared:
		return share{}, fmt.Errorf("more than %d bytes", maxShared)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return share{}, err
	}
	if head.Version != shareVersion {
		return share{}, fmt.Errorf("version %d, this monitord knows %d", head.Version, shareVersion)
	}
	var s share
	return s, json.Unmarshal(text, &s)
}

// Changed is poked when [Engine.Handover] has something new to say that another
// director should know soon.
func (e *Engine) Changed() <-chan struct{} { return e.news }

// announce is called after each change of the machine, with mu held.
func (e *Engine) announce() {
	version := e.set.Version()
	if version == e.announced {
		return
	}
	e.announced = version
	if !e.absorbing {
		e.pokeNews()
	}
}

func (e *Engine) pokeNews() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}
