package heartbeat

import (
	"fmt"
	"maps"
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

const (
	// tellAgain is how long the same complaint is not repeated.
	tellAgain = 10 * time.Second
	// mostAccused is of how many things that anybody can cause is told in that time.
	mostAccused = 256
)

// A teller hands lines to Settings.Log from a goroutine of its own: memberlist
// writes its log under its lock, and links complain where nothing may wait.
type teller struct {
	lines chan line
	done  chan struct{}
	ended chan struct{}

	mu      sync.Mutex // protects what follows
	told    map[string]time.Time
	accused map[string]time.Time
	swept   time.Time // when what is old in accused was forgotten
	dropped int
}

type line struct {
	level Level
	text  string
}

func newTeller(log func(Level, string)) *teller {
	t := &teller{lines: make(chan line, 256), done: make(chan struct{}), ended: make(chan struct{}), told: map[string]time.Time{}, accused: map[string]time.Time{}}
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

// complain tells once in ten seconds for each key, of which there are few: those of nodes
// and links.
func (t *teller) complain(key string, level Level, format string, args ...any) {
	if t.isNews(t.told, key, time.Now()) {
		t.tell(level, format, args...)
	}
}

// accuse is complain for keys that strangers choose: whoever sends packets can write any
// address on them. That must not fill the log, nor the memory, nor keep complaints out.
func (t *teller) accuse(key string, level Level, format string, args ...any) {
	if now := time.Now(); t.hasRoom(key, now) && t.isNews(t.accused, key, now) {
		t.tell(level, format, args...)
	}
}

// isNews tells whether a key is to be told of, and notes that it is.
func (t *teller) isNews(told map[string]time.Time, key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, known := told[key]; known && now.Sub(at) < tellAgain {
		return false
	}
	told[key] = now
	return true
}

// hasRoom tells whether there is room for a key among those that are accused.
func (t *teller) hasRoom(key string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.accused[key]; known || len(t.accused) < mostAccused {
		return true
	}
	if now.Sub(t.swept) >= time.Second {
		t.swept = now
		maps.DeleteFunc(t.accused, func(_ string, at time.Time) bool { return now.Sub(at) >= tellAgain })
	}
	if len(t.accused) < mostAccused {
		return true
	}
	t.dropped++
	return false
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
		about, _, _ := strings.Cut(text, " from=") // what follows has another port each time
		t.accuse(about, level, "%s", text)
	}
	return len(p), nil
}
