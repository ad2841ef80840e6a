package heartbeat

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"pgregory.net/rapid"
)

const ms = time.Millisecond

func TestFreshness(t *testing.T) {
	const years = 3 * 365 * 24 * time.Hour // between the clocks
	a, b := session{1}, session{2}
	type step struct {
		session     session
		incarnation uint64
		link        uint8
		seq         uint64
		sent, at    time.Duration
		stale       bool // it echoes an earlier token
		want        verdict
	}
	for name, steps := range map[string][]step{
		"in order":               {{a, 1, 0, 1, 0, 0, false, accepted}, {a, 1, 0, 2, ms, ms, false, accepted}},
		"over two links":         {{a, 1, 0, 1, 0, 0, false, accepted}, {a, 1, 1, 1, 0, ms, false, duplicate}},
		"again over one":         {{a, 1, 0, 1, 0, 0, false, accepted}, {a, 1, 0, 1, 0, ms, false, replayed}},
		"out of order":           {{a, 1, 0, 9, 0, 0, false, accepted}, {a, 1, 0, 8, 0, ms, false, accepted}, {a, 1, 0, 8, 0, ms, false, replayed}},
		"below the window":       {{a, 1, 0, 5000, 0, 0, false, accepted}, {a, 1, 0, 5000 - windowSize, 0, ms, false, replayed}},
		"of another time":        {{a, 1, 0, 1, 0, 0, true, unproved}, {a, 1, 0, 1, 0, 0, false, accepted}},
		"clocks years apart":     {{a, 1, 0, 1, years, 0, false, accepted}, {a, 1, 0, 2, years + 50*ms, 51 * ms, false, accepted}},
		"and the other way":      {{a, 1, 0, 1, 0, years, false, accepted}, {a, 1, 0, 2, 50 * ms, years + 51*ms, false, accepted}},
		"held back":              {{a, 1, 0, 1, 0, 0, false, accepted}, {a, 1, 0, 2, ms, 2*time.Second + 10*ms, false, late}, {a, 1, 0, 3, 2 * ms, 3 * time.Second, true, unproved}},
		"slow for good":          {{a, 1, 0, 1, 0, 0, false, accepted}, {a, 1, 0, 2, ms, 3 * time.Second, false, late}, {a, 1, 0, 3, 2 * ms, 3*time.Second + ms, false, accepted}},
		"clocks that drift":      {{a, 1, 0, 1, 0, 0, false, accepted}, {a, 1, 0, 2, time.Hour, time.Hour + time.Second, false, accepted}, {a, 1, 0, 3, 2 * time.Hour, 2*time.Hour + 3*time.Second, false, accepted}},
		"a restart":              {{a, 1, 0, 7, 0, 0, false, accepted}, {b, 2, 0, 1, 0, ms, false, accepted}, {b, 2, 0, 2, 0, ms, true, unproved}, {a, 1, 0, 8, 0, ms, true, unproved}},
		"a second process":       {{a, 2, 0, 7, 0, 0, false, accepted}, {b, 1, 0, 1, 0, time.Second, false, rival}},
		"a clock that went back": {{a, 2, 0, 7, 0, 0, false, accepted}, {b, 1, 0, 1, 0, rivalSilence, false, accepted}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newFreshness()
			first := r.token
			for i, s := range steps {
				f := frame{session: s.session, incarnation: s.incarnation, link: s.link, seq: s.seq, sent: s.sent, echo: r.token}
				if s.stale {
					f.echo = first ^ 2
					if r.token != first {
						f.echo = first
					}
				}
				if got := r.judge(f, s.at); got != s.want {
					t.Fatalf("step %d: verdict %d, want %d", i, got, s.want)
				}
			}
		})
	}
}

// A link that is seconds slower than another brings copies of what is long known: that
// they are dropped is all that comes of it.
func TestALateCopyChangesNothing(t *testing.T) {
	r := newFreshness()
	token := r.token
	judge := func(link uint8, seq uint64, sent, at time.Duration) verdict {
		return r.judge(frame{session: session{1}, link: link, seq: seq, sent: sent, echo: token}, at)
	}
	for seq := uint64(1); seq <= 3*windowSize; seq++ {
		sent := time.Duration(seq) * 10 * ms
		if v := judge(0, seq, sent, sent+ms); v != accepted {
			t.Fatalf("number %d over the good link: verdict %d, want accepted", seq, v)
		}
	}
	const end = 3*windowSize*10*ms + 3*time.Second
	for _, seq := range []uint64{1, 2, 3*windowSize - 300, 3 * windowSize} { // below the window, and in it
		if v := judge(1, seq, time.Duration(seq)*10*ms, end); v != late {
			t.Errorf("the copy of number %d: verdict %d, want late", seq, v)
		}
	}
	if r.token != token {
		t.Fatal("the copies cost the token")
	}
	// What came nowhere else does: the good link is cut.
	const next = 3*windowSize + 1
	if v := judge(1, next, next*10*ms, end+10*ms); v != late || r.token == token {
		t.Errorf("verdict %d, want late and another token", v)
	}
}

func TestFlushDropsWhatWaitedInTheSocket(t *testing.T) {
	r := newFreshness()
	judge := func(seq uint64, sent, at time.Duration) verdict {
		return r.judge(frame{session: session{1}, seq: seq, sent: sent, echo: r.token}, at)
	}
	if v := judge(1, 0, 10*ms); v != accepted { // it takes 10 ms
		t.Fatal(v)
	}
	r.flushing = 1000 * ms
	if v := judge(2, 500*ms, 1001*ms); v != flushed {
		t.Errorf("a packet that was due at 510 ms: verdict %d, want flushed", v)
	}
	if v := judge(3, 995*ms, 1005*ms); v != accepted {
		t.Errorf("a packet that was due after the flush: verdict %d, want accepted", v)
	}
}

// The window agrees with a set of all numbers that came.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		seen, top := map[uint64]bool{}, uint64(0)
		for _, n := range rapid.SliceOf(rapid.Uint64Range(0, 3*windowSize)).Draw(t, "numbers") {
			want := n > 0 && n+windowSize > top && !seen[n]
			if got := w.first(n); got != want {
				t.Fatalf("first(%d) = %v after %d, want %v", n, got, top, want)
			}
			if want {
				seen[n], top = true, max(top, n)
			}
		}
	})
}

func TestFrame(t *testing.T) {
	key, _ := parseKey(NewKey())
	aead := newSealer(key, session{7})
	want := frame{
		kind: kindGossip, link: 3, key: key.id(), session: session{7}, seq: 42, from: "dr1", incarnation: 5,
		sent: time.Hour, mine: 6, echo: 8, payload: []byte("payload"),
	}
	data := want.seal(aead)
	if extra := len(data) - len(want.payload) - len(want.from); extra != sealedExtra {
		t.Errorf("%d bytes around name and payload, want %d", extra, sealedExtra)
	}
	if bytes.Contains(data, want.payload) {
		t.Error("the payload is readable")
	}
	open := func(data []byte) (frame, error) {
		f, head, err := parseHeader(data)
		if err != nil {
			return f, err
		}
		return f.open(newSealer(key, f.session), data, head)
	}
	got, err := open(data)
	if err != nil || !bytes.Equal(got.payload, want.payload) || got.seq != 42 || got.from != "dr1" || got.incarnation != 5 ||
		got.sent != time.Hour || got.mine != 6 || got.echo != 8 || got.link != 3 || got.kind != kindGossip {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range data { // whatever bit is turned over, nothing of it is believed
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if f, err := open(bad); err == nil {
			t.Errorf("byte %d changed: got %+v", i, f)
		}
		if f, err := open(data[:i]); err == nil {
			t.Errorf("cut at %d: got %+v", i, f)
		}
	}
	later := bytes.Clone(data)
	later[1] = frameVersion + 1
	if _, err := open(later); !errors.Is(err, ErrVersion) {
		t.Errorf("a later version: error %v, want ErrVersion", err)
	}
}

func FuzzParseHeader(f *testing.F) {
	key := Key{1}
	f.Add(frame{from: "dr1", key: key.id(), seq: 1}.seal(newSealer(key, session{})))
	f.Add([]byte("m\x01"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		header, head, err := parseHeader(data)
		if err == nil {
			_, _ = header.open(newSealer(key, header.session), data, head)
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	f.Add(meta{leaving: true, incarnation: 1, version: "v", digest: "d"}.bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMeta(data)
		if err != nil {
			return
		}
		if again, err := parseMeta(m.bytes()); err == nil && len(m.version) <= maxMetaText && len(m.digest) <= maxMetaText && again != m {
			t.Fatalf("%+v became %+v", m, again)
		}
	})
}

func TestMetaIsNeverTooLongForMemberlist(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 5000))
	data := meta{leaving: true, incarnation: 1 << 63, version: long, digest: long}.bytes()
	if len(data) > 512 {
		t.Fatalf("%d bytes: memberlist panics above 512", len(data))
	}
	m, err := parseMeta(data)
	if err != nil || !m.leaving || m.incarnation != 1<<63 || m.digest != long[:maxMetaText] {
		t.Errorf("got %+v, %v", m, err)
	}
	if _, err := parseMeta([]byte{9, 0}); !errors.Is(err, ErrVersion) {
		t.Errorf("error %v, want ErrVersion", err)
	}
}

func TestMailboxKeepsTheNewest(t *testing.T) {
	b := newMailbox()
	for i := range mailboxSize + 10 {
		b.put(Received{From: "dr1", At: time.Unix(int64(i), 0)})
	}
	if got := (<-b.out).At.Unix(); got != 10 {
		t.Errorf("the oldest is number %d, want 10", got)
	}
	if got := b.lost(); got != 10 {
		t.Errorf("%d dropped, want 10", got)
	}
	b.drain()
	select {
	case r := <-b.out:
		t.Errorf("after drain: %+v", r)
	default:
	}
}

func TestGossipIsDeliveredOnce(t *testing.T) {
	n := &network{gossip: make(chan *memberlist.Packet, 4)}
	p := &peer{node: Node{Name: "dr2", Links: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:7946")}}}
	for _, v := range []verdict{accepted, duplicate, duplicate} {
		n.deliver(&path{}, p, frame{kind: kindGossip, payload: []byte("g")}, v, time.Time{})
	}
	if len(n.gossip) != 1 {
		t.Fatalf("%d packets for memberlist, want 1", len(n.gossip))
	}
	if got := (<-n.gossip).From.String(); got != "192.0.2.2:7946" {
		t.Errorf("from %s", got)
	}
}
