package clock

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/monitors"
	"github.com/monitord/monitord/monitors/monitortest"
)

// serve answers each question on a port of its own with what answer makes of it, nil
// for nothing, and returns the entry for a host group.
func serve(t testing.TB, answer func(question []byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			packet := make([]byte, 512)
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			if said := answer(packet[:n]); said != nil {
				_, _ = conn.WriteTo(said, from)
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	return conn.LocalAddr().String()
}

// clock is a server that is ahead of us.
func clock(ahead time.Duration) func([]byte) []byte {
	return func(question []byte) []byte {
		answer := make([]byte, size)
		answer[0], answer[1] = 4<<3|4, 2
		copy(answer[24:32], question[40:])
		now := time.Now().Add(ahead)
		for _, at := range []int{32, 40} {
			binary.BigEndian.PutUint32(answer[at:], uint32(now.Unix()+2_208_988_800))
			binary.BigEndian.PutUint32(answer[at+4:], uint32(int64(now.Nanosecond())<<32/int64(time.Second)))
		}
		return answer
	}
}

func silent([]byte) []byte { return nil }

// with changes one byte of an answer.
func with(at int, value byte) func([]byte) []byte {
	return func(question []byte) []byte {
		answer := clock(0)(question)
		answer[at] = value
		return answer
	}
}

func built(t testing.TB) monitors.Monitor {
	m, err := build(Config{Port: 123, Offset: monitors.Duration(time.Second), Timeout: monitors.Duration(time.Minute), Limit: 32}, monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestConformance holds the monitor to the contract.
func TestConformance(t *testing.T) {
	monitortest.Run(t, monitortest.Subject{
		New:    func(t testing.TB) monitors.Monitor { return built(t) },
		Up:     func(t testing.TB) string { return serve(t, clock(0)) },
		Down:   func(t testing.TB) string { return serve(t, clock(time.Minute)) },
		Silent: func(t testing.TB) string { return serve(t, silent) },
	})
}

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func([]byte) []byte
		want   monitors.Verdict
		reason string
	}{
		{"right", clock(0), monitors.Up, ""},
		{"a little ahead", clock(200 * time.Millisecond), monitors.Up, ""},
		{"behind", clock(-3 * time.Second), monitors.Down, "off by -3s"},
		{"not synchronised", with(1, 16), monitors.Down, "not synchronised"},
		{"leap unknown", with(0, 3<<6|4<<3|4), monitors.Down, "not synchronised"},
		{"kiss of death", with(1, 0), monitors.Down, "sends us away"},
		{"no server", with(0, 4<<3|3), monitors.Down, "mode 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := built(t).Check(t.Context(), monitors.Request{Hosts: []string{serve(t, tt.answer)}})
			if err != nil {
				t.Fatal(err)
			}
			if h := r.Hosts[0]; h.Verdict != tt.want || !strings.Contains(h.Reason, tt.reason) {
				t.Errorf("%v: %s; want %v: %s", h.Verdict, h.Reason, tt.want, tt.reason)
			}
		})
	}
}

// A server that repeats an old answer before the new one is not believed.
func TestStranger(t *testing.T) {
	n := 0
	host := serve(t, func([]byte) []byte {
		n++
		if n == 1 {
			return clock(time.Hour)(make([]byte, size)) // with another nonce
		}
		return nil
	})
	m := Config{Port: 123, Offset: monitors.Duration(time.Second), Timeout: monitors.Duration(100 * time.Millisecond), Limit: 1}
	built, err := build(m, monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := built.Check(t.Context(), monitors.Request{Hosts: []string{host}})
	if err != nil || !strings.Contains(r.Hosts[0].Reason, "no answer") {
		t.Errorf("%+v, %v", r.Hosts, err)
	}
}

func TestMistakes(t *testing.T) {
	for key, c := range map[string]Config{"offset": {Timeout: 1}, "timeout": {Offset: 1}} {
		if _, err := build(c, monitors.Site{}); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
