package gateway

import (
	"net/netip"
	"testing"
	"time"
)

// newAccount is a pinger with one target that was pinged n times, without sockets.
func newAccount(n int) (*Pinger, *target) {
	t := &target{gateway: netip.MustParseAddr("10.0.0.3")}
	p := &Pinger{targets: map[netip.Addr]*target{t.gateway: t}, out: make(chan Answer, answers)}
	for k := range n {
		ping := &t.sent[k%outstanding]
		ping.number, ping.waits, ping.at = k, true, time.Duration(k)
	}
	return p, t
}

func TestAccount(t *testing.T) {
	for name, c := range map[string]struct {
		sent    int
		replies []int
		want    []time.Duration
	}{
		"each":         {3, []int{0, 2, 1}, []time.Duration{0, 2, 1}},
		"twice":        {2, []int{1, 1, 0, 1}, []time.Duration{1, 0}},
		"never sent":   {2, []int{2, 1 << 62, outstanding}, nil},
		"too old":      {outstanding + 1, []int{0, outstanding, 1}, []time.Duration{outstanding, 1}},
		"nobody pings": {0, []int{0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, target := newAccount(c.sent)
			for _, k := range c.replies {
				p.answered(target, k)
			}
			for _, want := range c.want {
				if len(p.out) == 0 {
					t.Fatalf("no answer to ping %d", want)
				}
				if a := <-p.out; a.Sent != want || a.Gateway != target.gateway {
					t.Errorf("answer %+v, want ping %d", a, want)
				}
			}
			if n := len(p.out); n != 0 {
				t.Errorf("%d more answers", n)
			}
		})
	}
}

// TestFlushForgets what waits for its reader, and what is not answered yet.
func TestFlushForgets(t *testing.T) {
	p, target := newAccount(2)
	p.answered(target, 0)
	p.Flush()
	p.answered(target, 1)
	if n := len(p.out); n != 0 {
		t.Errorf("%d answers after a flush", n)
	}
}

// TestNobodyReads keeps the newest answers, and waits for nobody.
func TestNobodyReads(t *testing.T) {
	p, target := newAccount(0)
	for k := range answers + 10 {
		target.sent[k%outstanding].number, target.sent[k%outstanding].waits, target.sent[k%outstanding].at = k, true, time.Duration(k)
		p.answered(target, k)
	}
	if a := <-p.out; a.Sent != 10 || len(p.out) != answers-1 {
		t.Errorf("the oldest is %+v, and %d more", a, len(p.out))
	}
}
