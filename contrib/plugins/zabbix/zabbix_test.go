package zabbix

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/alerttest"
)

const good = `{"response":"success","info":"processed: 1; failed: 0; total: 1; seconds spent: 0.000045"}`

// server takes values and gives one answer to all; without one it is silent.
func server(t testing.TB, answer string, got func(request)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = conn.Close() }()
				talk(conn, answer, got)
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); running.Wait() })
	return listener.Addr().String()
}

func talk(conn net.Conn, answer string, got func(request)) {
	head := make([]byte, len(header)+8)
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	body := make([]byte, binary.LittleEndian.Uint64(head[len(header):]))
	if _, err := io.ReadFull(conn, body); err != nil {
		return
	}
	var r request
	if json.Unmarshal(body, &r) == nil && got != nil {
		got(r)
	}
	if answer == "" {
		_, _ = io.Copy(io.Discard, conn) // until the other side gives up
		return
	}
	_, _ = conn.Write(binary.LittleEndian.AppendUint64([]byte(header), uint64(len(answer))))
	_, _ = io.WriteString(conn, answer)
}

func built(t testing.TB, address string) alerts.Alert {
	t.Helper()
	a, err := build(Config{Server: address, Key: "web.down", TextKey: "web.text", Timeout: alerts.Duration(time.Minute)}, alerts.Site{Hostname: "director1"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestConformance holds the alert to the contract.
func TestConformance(t *testing.T) {
	alerttest.Run(t, alerttest.Subject{
		New:     func(t testing.TB) alerts.Alert { return built(t, server(t, good, nil)) },
		Broken:  func(t testing.TB) alerts.Alert { return built(t, server(t, `{"response":"failed","info":"no"}`, nil)) },
		Blocked: func(t testing.TB) alerts.Alert { return built(t, server(t, "", nil)) },
	})
}

func TestValue(t *testing.T) {
	var got request
	a := built(t, server(t, good, func(r request) { got = r }))
	err := a.Send(t.Context(), alerts.Event{Group: "web", Service: "http", Time: time.Unix(1700000000, 0), Hosts: []alerts.Host{
		{Name: "web1", State: alerts.HostDown},
		{Name: "web2", State: alerts.HostUp},
		{Name: "web3", State: alerts.HostDown},
		{Name: "web4", State: alerts.HostDown, Disabled: true},
		{Name: "web5"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := value{Host: "director1", Key: "web.down", Value: "2", Clock: 1700000000}
	if len(got.Data) != 2 || got.Data[0] != want || got.Request != "sender data" {
		t.Fatalf("%+v, want %+v", got, want)
	}
	if text := got.Data[1]; text.Key != "web.text" || !strings.HasPrefix(text.Value, "DOWN web:http") {
		t.Errorf("in words: %+v", text)
	}
}

// A value that the server has no item for is not sent again and again.
func TestComplaints(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
		delivered          bool
	}{
		{"no such item", `{"response":"success","info":"processed: 0; failed: 1; total: 1"}`, `item "web.down" of host "director1"`, true},
		{"refused", `{"response":"failed","info":"proxy is not allowed"}`, "proxy is not allowed", false},
		{"something else", "<html>", "not understood", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := built(t, server(t, tt.answer, nil)).Send(t.Context(), alerts.Event{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, alerts.ErrDelivered) != tt.delivered {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	whole := Config{Server: "::1", Key: "k", Timeout: 1}
	for key, spoil := range map[string]func(*Config){
		"server":  func(c *Config) { c.Server = "" },
		"key":     func(c *Config) { c.Key = "" },
		"timeout": func(c *Config) { c.Timeout = 0 },
	} {
		c := whole
		spoil(&c)
		if _, err := build(c, alerts.Site{}); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
	a, err := build(whole, alerts.Site{})
	if err != nil || a.(*sender).Server != "[::1]:10051" {
		t.Errorf("%+v, %v", a, err)
	}
}
