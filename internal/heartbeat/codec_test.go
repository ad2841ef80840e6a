package heartbeat

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/monitord/monitord/internal/director"
)

var (
	anyText   = rapid.SampledFrom([]string{"", "dr1", "dr2", "web", "mail-relay", "äöü", strings.Repeat("x", 40)})
	anyReason = rapid.Custom(func(t *rapid.T) director.Reason {
		return director.Reason{
			Code: director.Code(rapid.IntRange(0, int(director.ReasonCleared)).Draw(t, "code")),
			Node: anyText.Draw(t, "node"), Detail: rapid.StringN(0, 20, 30).Draw(t, "detail"),
		}
	})
	anyDuration = rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64().Draw(t, "duration")) })
	anyClaim    = rapid.Custom(func(t *rapid.T) director.Claim {
		return director.Claim{
			Group: anyText.Draw(t, "group"), Role: director.Role(rapid.IntRange(0, int(director.Maintenance)).Draw(t, "role")),
			Epoch: rapid.Uint64().Draw(t, "epoch"), Priority: rapid.Int().Draw(t, "priority"), Fitness: rapid.Int().Draw(t, "fitness"),
			Renewed: anyDuration.Draw(t, "renewed"), Able: rapid.Bool().Draw(t, "able"), Blocked: rapid.Bool().Draw(t, "blocked"), Ready: rapid.Bool().Draw(t, "ready"),
			Leave: anyText.Draw(t, "leave"), LeaveEpoch: rapid.Uint64().Draw(t, "leave epoch"), StopFailed: rapid.Bool().Draw(t, "stop failed"),
			To: anyText.Draw(t, "to"), Forced: rapid.Bool().Draw(t, "forced"), Request: anyText.Draw(t, "request"),
			Refused: anyReason.Draw(t, "refused"), Why: anyReason.Draw(t, "why"),
		}
	})
	anyWord = rapid.Custom(func(t *rapid.T) director.Word {
		return director.Word{
			Order:   rapid.SampledFrom([]director.Order{{}, {Node: "dr2", Seq: 7}, {Node: "dr1", On: true, Seq: 1 << 60}, {On: true}}).Draw(t, "order"),
			Leaving: rapid.Bool().Draw(t, "leaving"), Maintenance: rapid.Bool().Draw(t, "maintenance"), Gateway: rapid.Bool().Draw(t, "gateway"),
			GatewayAge: anyDuration.Draw(t, "age"), Digest: anyText.Draw(t, "digest"), Groups: some(rapid.SliceOfN(anyClaim, 0, 3).Draw(t, "groups")),
		}
	})
	anyHear = rapid.Custom(func(t *rapid.T) director.Hear {
		h := director.Hear{
			Node: anyText.Draw(t, "node"), Incarnation: rapid.Uint64().Draw(t, "incarnation"), Seq: rapid.Uint64().Draw(t, "seq"),
			Sent: director.Instant(rapid.Int64().Draw(t, "sent")), Silent: anyDuration.Draw(t, "silent"), Heard: rapid.Bool().Draw(t, "heard"), Thin: rapid.Bool().Draw(t, "thin"),
		}
		if h.Heard {
			h.Word = anyWord.Draw(t, "word")
		}
		return h
	})
	anyMessage = rapid.Custom(func(t *rapid.T) director.Message {
		return director.Message{
			From: anyText.Draw(t, "from"), Incarnation: rapid.Uint64().Draw(t, "incarnation"), Seq: rapid.Uint64().Draw(t, "seq"),
			Sent: director.Instant(rapid.Int64().Draw(t, "sent")), Answer: rapid.Bool().Draw(t, "answer"),
			Word: anyWord.Draw(t, "word"), Hears: some(rapid.SliceOfN(anyHear, 0, 3).Draw(t, "hears")),
		}
	})
)

// some makes nil of nothing, as Decode does.
func some[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func TestDecodeIsTheReverseOfEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyMessage.Draw(t, "message")
		data, err := Encode(want, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
	})
}

// full is what a director says in a busy cluster: every text in use.
func full(nodes, groups, detail int) director.Message {
	name := func(i int) string { return "director-" + string(rune('a'+i)) + ".example" }
	word := func(i int) director.Word {
		w := director.Word{Gateway: true, GatewayAge: 7654321 * time.Nanosecond, Digest: strings.Repeat("0123456789abcdef", 4)}
		for g := range groups {
			w.Groups = append(w.Groups, director.Claim{
				Group: "group-number-" + string(rune('a'+g)), Role: director.Active, Epoch: 12345, Priority: 100, Fitness: 250,
				Renewed: 123456789 * time.Nanosecond, Able: true, Leave: name(i), LeaveEpoch: 12344, To: name(i), Request: name(i),
				Refused: director.Reason{Code: director.ReasonTargetUnable, Node: name(i)},
				Why:     director.Reason{Code: director.ReasonStartFailed, Node: name(i), Detail: strings.Repeat(string(rune('A'+i*groups+g)), detail)},
			})
		}
		return w
	}
	m := director.Message{From: name(0), Incarnation: 1790000000, Seq: 1 << 30, Sent: director.Instant(1000 * time.Hour), Word: word(0)}
	for i := 1; i < nodes; i++ {
		m.Hears = append(m.Hears, director.Hear{
			Node: name(i), Incarnation: 1790000000, Seq: 1 << 30, Sent: director.Instant(1000 * time.Hour), Silent: 49 * time.Millisecond, Heard: true, Word: word(i),
		})
	}
	return m
}

func TestFiveNodesWithThreeGroupsFitIntoOnePacket(t *testing.T) {
	fit := packetSize - sealedExtra - maxName
	for _, detail := range []int{0, 20, 300} {
		data, err := Encode(full(5, 3, detail), fit)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("details of %d bytes: %d bytes", detail, len(data))
		if len(data) > fit {
			t.Errorf("details of %d bytes: %d bytes, want at most %d", detail, len(data), fit)
		}
	}
}

func TestTextsOfOthersAreShortenedFirst(t *testing.T) {
	data, err := Encode(full(5, 3, 100), 1200)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(m.Word.Groups[0].Why.Detail); got != 100 {
		t.Errorf("the own detail has %d bytes, want all 100", got)
	}
	if got := len(m.Hears[0].Word.Groups[0].Why.Detail); got != 0 {
		t.Errorf("a detail of another has %d bytes, want none", got)
	}
	m.Word.Groups[0].Why.Detail, m.Hears[0].Word.Groups[0].Why.Detail = "", ""
	if want := full(5, 3, 0).Word.Groups[0]; m.Word.Groups[0] != want {
		t.Errorf("got %+v, want %+v", m.Word.Groups[0], want)
	}
}

func TestShortenCutsBetweenCharacters(t *testing.T) {
	for most, want := range []string{"", "a", "a", "aä", "aäb"} {
		if got := shorten("aäb", most); got != want {
			t.Errorf("shorten(%d) = %q, want %q", most, got, want)
		}
	}
}

func TestEncodeRefusesWhatIsOutOfProportion(t *testing.T) {
	if data, err := Encode(full(26, 26, 0), packetSize); err == nil {
		t.Errorf("got %d bytes, want an error", len(data))
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := Encode(full(2, 1, 3), packetSize)
	if err != nil {
		t.Fatal(err)
	}
	role := director.Message{Word: director.Word{Groups: []director.Claim{{Role: director.Maintenance + 1}}}}
	code := director.Message{Word: director.Word{Groups: []director.Claim{{Why: director.Reason{Code: director.ReasonCleared + 1}}}}}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":            {nil, "ends too early"},
		"a later version":    {append([]byte{messageVersion + 1}, good[1:]...), "version 2, this monitord speaks 1"},
		"half of it":         {good[:len(good)/2], "ends too early"},
		"more than it":       {append(slices.Clip(good), 0), "1 bytes too many"},
		"too much":           {append(slices.Clip(good), make([]byte, maxMessage)...), "the most is"},
		"a million strings":  {[]byte{messageVersion, 0xff, 0xff, 0x3f}, "strings"},
		"a string of 2^63":   {[]byte{messageVersion, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0}, "ends too early"},
		"a string not there": {[]byte{messageVersion, 0, 0, 7}, "string 7 of 0"},
		"unknown flags":      {[]byte{messageVersion, 0, 0x80}, "unknown flags 0x80"},
		"an unknown role":    {must(Encode(role, packetSize)), "unknown role 7"},
		"an unknown reason":  {must(Encode(code, packetSize)), "unknown reason"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Decode(test.data)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
			if !cmp.Equal(m, director.Message{}) {
				t.Errorf("got %+v along with the error", m)
			}
		})
	}
	if _, err := Decode([]byte{9}); !errors.Is(err, ErrVersion) {
		t.Errorf("error %v, want ErrVersion", err)
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// The numbers of roles and reasons travel. Whoever adds or moves one raises
// messageVersion, and writes the new sum here.
func TestNumbersOnTheWire(t *testing.T) {
	sum := fnv.New64a()
	for r := director.Init; r <= director.Maintenance; r++ {
		_, _ = sum.Write([]byte(r.String() + "\n"))
	}
	for c := director.None; c <= director.ReasonCleared; c++ {
		_, _ = sum.Write([]byte(director.Reason{Code: c, Node: "NODE"}.String() + "\n"))
	}
	if got, want := sum.Sum64(), uint64(wireNumbers); got != want {
		t.Errorf("roles or reasons are others than those of version %d: %#x, want %#x", messageVersion, got, want)
	}
}

const wireNumbers = 0xf7b9b8411515fac2

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(must(Encode(director.Message{}, packetSize)))
	f.Add(must(Encode(full(1, 1, 5), packetSize)))
	f.Add(must(Encode(full(3, 3, 40), packetSize)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(m, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		// Texts are cut at 256 and 128 bytes; what is short stays as it is.
		back, err := Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) < 100 && !cmp.Equal(m, back) {
			t.Fatalf("-first +second\n%s", cmp.Diff(m, back))
		}
	})
}

// What a heartbeat may need is known before there is one.
func TestFit(t *testing.T) {
	names := func(prefix string, count int) (all []string) {
		for i := range count {
			all = append(all, fmt.Sprintf("%s%d", prefix, i))
		}
		return all
	}
	for _, c := range []struct {
		nodes, groups int
		wrong         string
		onePacket     bool
	}{
		{2, 1, "", true},
		{5, 3, "", true},
		{2, 100, "", false},
		{5, 100, "", false},
		{65, 1, "", false},
		{66, 1, "65 nodes are the most", false},
		{2, 256, "", false},
		{2, 257, "256 groups are the most", false},
		{9, 200, "bytes, 16384 are the most", false},
	} {
		size, onePacket, err := Fit(names("dr", c.nodes), names("group-", c.groups))
		if got := fmt.Sprint(err); (err == nil) != (c.wrong == "") || !strings.Contains(got, c.wrong) && err != nil || onePacket != c.onePacket {
			t.Errorf("%d nodes with %d groups: %d bytes, one packet %t: %v", c.nodes, c.groups, size, onePacket, err)
		}
	}
}
