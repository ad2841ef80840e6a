package schedule

// A dueHeap has the entry that is due first in front; of those due at the same
// time, the one that the plan names first. The keys are in the array and a
// node has four children: with 10,000 jobs this takes a third of the time of
// container/heap over pointers.
type dueHeap struct{ nodes []node }

// A node repeats its entry's due and order; fix and init bring them up to date.
type node struct {
	due   int64
	order int
	entry *entry
}

func (n *node) before(m *node) bool {
	return n.due < m.due || n.due == m.due && n.order < m.order
}

func nodeOf(e *entry) node { return node{due: int64(e.due), order: e.order, entry: e} }

func (q *dueHeap) first() *entry {
	if len(q.nodes) == 0 {
		return nil
	}
	return q.nodes[0].entry
}

// init orders the heap anew, from what the entries say.
func (q *dueHeap) init() {
	for i := range q.nodes {
		q.put(i, nodeOf(q.nodes[i].entry))
	}
	for i := len(q.nodes) / 4; i >= 0; i-- {
		q.down(i)
	}
}

// fix moves an entry to where its due belongs.
func (q *dueHeap) fix(e *entry) {
	q.nodes[e.at] = nodeOf(e)
	q.down(e.at)
	q.up(e.at)
}

func (q *dueHeap) push(e *entry) {
	e.at = len(q.nodes)
	q.nodes = append(q.nodes, nodeOf(e))
	q.up(e.at)
}

func (q *dueHeap) remove(e *entry) {
	last := len(q.nodes) - 1
	filler := q.nodes[last]
	q.nodes[last] = node{}
	q.nodes = q.nodes[:last]
	if e.at < last {
		q.put(e.at, filler)
		q.fix(filler.entry)
	}
}

func (q *dueHeap) put(i int, n node) {
	q.nodes[i] = n
	n.entry.at = i
}

func (q *dueHeap) up(i int) {
	if i == 0 {
		return
	}
	n := q.nodes[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !n.before(&q.nodes[parent]) {
			break
		}
		q.put(i, q.nodes[parent])
		i = parent
	}
	q.put(i, n)
}

func (q *dueHeap) down(i int) {
	if i >= len(q.nodes) {
		return
	}
	n := q.nodes[i]
	for {
		eldest := 4*i + 1
		if eldest >= len(q.nodes) {
			break
		}
		child := eldest
		for c := eldest + 1; c < min(eldest+4, len(q.nodes)); c++ {
			if q.nodes[c].before(&q.nodes[child]) {
				child = c
			}
		}
		if !q.nodes[child].before(&n) {
			break
		}
		q.put(i, q.nodes[child])
		i = child
	}
	q.put(i, n)
}
