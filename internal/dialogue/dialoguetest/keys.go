package dialoguetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/monitord/monitord/internal/plugin"
	"github.com/monitord/monitord/monitors"
)

// Keys are the values of the keys that every monitor of this sort passes on.
type Keys struct {
	Port       int
	Timeout    monitors.Duration
	Limit      int
	Source, IP string

	// Those about TLS, for monitors that have them.
	TLS, StartTLS bool
	CAFile        string
	Unverified    bool // verify = false
}

// BadKeys verifies that each value that makes no sense is blamed on its key; build
// makes a monitor of the values.
func BadKeys(t *testing.T, build func(Keys) error) {
	t.Helper()
	BadPlainKeys(t, build)
	bad(t, build, "starttls", "TLS from the start", func(k *Keys) { k.TLS, k.StartTLS = true, true })
	bad(t, build, "ca_file", "no such file", func(k *Keys) { k.StartTLS, k.CAFile = true, "/nonexistent/ca.pem" })
	bad(t, build, "ca_file", "add tls = true", func(k *Keys) { k.CAFile = "/x" })
	bad(t, build, "verify", "add tls = true", func(k *Keys) { k.Unverified = true })
}

// BadPlainKeys is [BadKeys] for a monitor without TLS.
func BadPlainKeys(t *testing.T, build func(Keys) error) {
	t.Helper()
	bad(t, build, "port", "1 to 65535", func(k *Keys) { k.Port = 65536 })
	bad(t, build, "timeout", "write a duration", func(k *Keys) { k.Timeout = 0 })
	bad(t, build, "limit", "write 1 or more", func(k *Keys) { k.Limit = 0 })
	bad(t, build, "source", "no address of this machine", func(k *Keys) { k.Source = "eth0" })
	bad(t, build, "ip", "no address family", func(k *Keys) { k.IP = "5" })
	if err := build(good()); err != nil {
		t.Errorf("good values are refused: %v", err)
	}
}

func good() Keys {
	return Keys{Port: 1234, Timeout: monitors.Duration(time.Second), Limit: 1, IP: "any"}
}

func bad(t *testing.T, build func(Keys) error, key, text string, spoil func(*Keys)) {
	t.Helper()
	k := good()
	spoil(&k)
	WantKey(t, build(k), key, text)
}

// WantKey verifies that an error blames a key, with this text.
func WantKey(t *testing.T, err error, key, text string) {
	t.Helper()
	var got *plugin.KeyError
	if !errors.As(err, &got) || got.Key != key || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want key %s and %q", err, key, text)
	}
}
