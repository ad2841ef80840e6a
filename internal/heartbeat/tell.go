package heartbeat

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Level says how much a line matters.
type Level int

// The levels.
const (
	Debug Level = iota
	Info
	Warn
	Error
)

var levelNames = []string{"debug", "info", "warn", "error"}

func (l Level) String() string { return levelNames[l] }

// tellAgain is how long the same complaint is not repeated.
const tellAgain = 10 * time.Second

// A teller hands lines to Settings.Log from a goroutine of its own: memberlist
// writes its log under its lock, and links complain where nothing may wait.
type teller struct {
	lines chan line
	done  chan struct{}
	ended chan struct{}

	mu      sync.Mutex // protects told and dropped
	told    map[string]time.Time
	dropped int
}

type line struct {
	level Level
	text  string
}

func newTeller(log func(Level, string)) *teller {
	t := &teller{lines: make(chan line, 256), done: make(chan struct{}), ended: make(chan struct{}), told: map[string]time.Time{}}
	go t.run(log)
	return t
}

func (t *teller) run(log func(Level, string)) {
	defer close(t.ended)
	for {
		select {
		case l := <-t.lines:
			log(l.level, l.text)
		case <-t.done:
			for len(t.lines) > 0 {
				l := <-t.lines
				log(l.level, l.text)
			}
			return
		}
	}
}

// close tells what is left.
func (t *teller) close() {
	close(t.done)
	<-t.ended
}

func (t *teller) tell(level Level, format string, args ...any) {
	l := line{level, fmt.Sprintf(format, args...)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped > 0 && len(t.lines) < cap(t.lines) {
		t.lines <- line{Warn, fmt.Sprintf("heartbeat: %d log lines were left out", t.dropped)}
		t.dropped = 0
	}
	select {
	case t.lines <- l: // only here is sent, under the lock: the line above found room
	default:
		t.dropped++
	}
}

// complain tells once in ten seconds for each key. What strangers send must not
// fill the log, nor the memory.
func (t *teller) complain(key string, level Level, format string, args ...any) {
	now := time.Now()
	t.mu.Lock()
	at, known := t.told[key]
	again := known && now.Sub(at) < tellAgain
	if !again {
		if len(t.told) >= 256 {
			clear(t.told)
		}
		t.told[key] = now
	}
	t.mu.Unlock()
	if !again {
		t.tell(level, format, args...)
	}
}

// Write takes memberlist's lines: "[WARN] memberlist: text".
func (t *teller) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	level := Info
	if tag, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(tag, "[") {
		text = rest
		switch tag[1:] {
		case "DEBUG":
			level = Debug
		case "WARN":
			level = Warn
		case "ERR", "ERROR":
			level = Error
		}
	}
	if level < Warn {
		t.tell(level, "%s", text)
	} else {
		t.complain(text, level, "%s", text)
	}
	return len(p), nil
}
