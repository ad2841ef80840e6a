package engine

import (
	"time"

	"github.com/monitord/monitord/internal/lvs"
)

// A quorumTold is what people were told of the quorum of a virtual service.
type quorumTold struct {
	Lost  bool      `json:"lost,omitzero"`
	Since time.Time `json:"since,omitzero"` // when it was lost, the last time
	// Named is Since by the clock of who told of it: the name of the outage.
	Named time.Time `json:"named,omitzero"`
	// Basis is until when this is known. Owned is as in [watch.Told].
	Basis time.Time `json:"basis,omitzero"`
	Owned bool      `json:"owned,omitzero"`
	// Seen is what the pool of this director said last; it is saved, not shared.
	Seen *lvs.QuorumChange `json:"seen,omitzero"`
}

func (q quorumTold) shift(move func(time.Time) time.Time) quorumTold {
	q.Since, q.Basis = move(q.Since), move(q.Basis)
	return q
}

// A quorumState is what the engine knows of the quorum of a virtual service.
type quorumState struct {
	seen *lvs.QuorumChange // nil: the pool has not spoken
	told quorumTold
	// confirmed is told, without what is on its way.
	confirmed quorumTold
	owned     bool
}

func (e *Engine) quorumOf(virtual string) *quorumState {
	if e.quorate[virtual] == nil {
		e.quorate[virtual] = &quorumState{}
	}
	return e.quorate[virtual]
}

// ownQuorum follows the owners: who becomes one tells what nobody could tell.
func (e *Engine) ownQuorum(now time.Time, virtual string) {
	q := e.quorumOf(virtual)
	mine := e.duty.virtuals[virtual] == ""
	if mine == q.owned {
		return
	}
	q.owned = mine
	if !mine {
		q.told.Basis = now
		return
	}
	if q.seen == nil || q.seen.Had != q.told.Lost {
		return // it is as people know it
	}
	c := *q.seen
	if c.Had {
		c.Lost = q.told.Since
	}
	e.tellQuorum(c)
}

// quorumWord is what other directors have to know.
func (e *Engine) quorumWord(now time.Time, virtual string, pending bool) quorumTold {
	q := e.quorumOf(virtual)
	if !pending {
		q.confirmed = q.told
	}
	out := q.confirmed
	out.Owned, out.Seen = q.owned, nil
	out.Basis = q.told.Basis
	if q.owned {
		out.Basis = now
	}
	return out
}

func (e *Engine) absorbQuorum(virtual string, word quorumTold) {
	if e.quorums[virtual] == nil {
		return
	}
	q := e.quorumOf(virtual)
	if q.owned || !word.Basis.After(q.told.Basis) {
		return
	}
	q.told = word
	e.changed()
}

// savedQuorums is what a restart should know.
func (e *Engine) savedQuorums() map[string]quorumTold {
	out := map[string]quorumTold{}
	for virtual := range e.quorums {
		q := e.quorumOf(virtual)
		told := q.told
		told.Owned, told.Seen = q.owned, q.seen
		out[virtual] = told
	}
	return out
}

// recallQuorums undoes savedQuorums. The owner of then knows what was told until then.
func (e *Engine) recallQuorums(old map[string]quorumTold, saved time.Time) {
	for virtual, told := range old {
		if e.quorums[virtual] == nil {
			continue
		}
		q := e.quorumOf(virtual)
		q.seen = told.Seen
		if told.Owned {
			told.Basis = saved
		}
		told.Owned, told.Seen = false, nil
		q.told = told
	}
}
