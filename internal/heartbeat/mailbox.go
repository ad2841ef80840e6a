package heartbeat

import (
	"sync"
	"time"

	"github.com/monitord/monitord/internal/director"
)

// A Received is one message as it came over one link. The same message comes over
// each link that carries.
type Received struct {
	From    string
	Link    string
	Message director.Message
	At      time.Time
}

// mailboxSize is some tenths of a second of a busy cluster.
const mailboxSize = 256

// A mailbox keeps the newest of what nobody has fetched yet.
type mailbox struct {
	out chan Received

	mu      sync.Mutex // protects putting, and dropped
	dropped uint64
}

func newMailbox() *mailbox { return &mailbox{out: make(chan Received, mailboxSize)} }

// put never waits: the oldest makes room.
func (b *mailbox) put(r Received) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		select {
		case b.out <- r:
			return
		default:
		}
		select {
		case <-b.out:
			b.dropped++
		default:
		}
	}
}

// drain forgets what is there.
func (b *mailbox) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		select {
		case <-b.out:
		default:
			return
		}
	}
}

func (b *mailbox) lost() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}
