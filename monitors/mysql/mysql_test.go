package mysql

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/monitord/monitord/internal/dial/dialtest"
	"github.com/monitord/monitord/internal/dialogue/dialoguetest"
	"github.com/monitord/monitord/monitors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configured(t testing.TB, change func(*config)) config {
	t.Helper()
	c, ok := monitors.Defaults("mysql").(*config)
	if !ok {
		t.Fatal("the kind is not registered with its config")
	}
	if change != nil {
		change(c)
	}
	return *c
}

func mustBuild(t testing.TB, change func(*config)) monitors.Monitor {
	t.Helper()
	m, err := build(configured(t, change), monitors.Site{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConformance(t *testing.T) {
	dialoguetest.Conform(t, func(t testing.TB) monitors.Monitor { return mustBuild(t, nil) }, database)
}

func TestHostile(t *testing.T) {
	dialoguetest.Hostile(t, func(timeout time.Duration) monitors.Monitor {
		return mustBuild(t, func(c *config) { c.Timeout = monitors.Duration(timeout) })
	})
	dialoguetest.Ahead(t, mustBuild(t, nil), "\xff\x00\x00\x00")
}

// handshake is a server's greeting, as MySQL 8.4 and MariaDB write it.
func handshake(version string) string {
	const capabilities = uint32(longPassword | protocol41 | secureConnection | pluginAuth)
	b := append([]byte{protocol10}, version...)
	b = append(b, 0, 7, 0, 0, 0)
	b = append(b, "12345678\x00"...)
	b = binary.LittleEndian.AppendUint16(b, uint16(capabilities&0xffff))
	b = append(b, 255, 2, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(capabilities>>16))
	b = append(b, 21)
	b = append(b, make([]byte, 10)...)
	b = append(b, "901234567890\x00caching_sha2_password\x00"...)
	return frame(0, b)
}

func failure(number byte, code uint16, text string) string {
	return frame(number, append(binary.LittleEndian.AppendUint16([]byte{errorPacket}, code), text...))
}

// server says the greeting and then, for each packet that comes, the next answer; a
// packet that is not as its request says is an error of the test. At the end it
// waits for the client to go.
func server(t testing.TB, greeting string, exchange ...string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, greeting)
		for i := 0; i+1 < len(exchange); i += 2 {
			want := make([]byte, len(exchange[i]))
			if _, err := io.ReadFull(conn, want); err != nil || string(want) != exchange[i] {
				t.Errorf("the server got %q, %v, want %q", want, err, exchange[i])
				return
			}
			_, _ = io.WriteString(conn, exchange[i+1])
		}
		dialtest.Hang(conn)
	}
}

// hello is the client's answer to the handshake, written out.
func hello(user string) string {
	return frame(1, []byte("\x01\x82\x08\x00"+"\x00\x00\x00\x01"+"!"+strings.Repeat("\x00", 23)+user+"\x00\x00mysql_native_password\x00"))
}

const (
	okay   = "\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00"
	quit   = "\x01\x00\x00\x00\x01"
	change = "\xfecaching_sha2_password\x00abcdefghijklmnopqrst\x00"
)

// database is a server that is all right.
func database(t testing.TB) func(net.Conn) {
	return server(t, handshake("8.4.3"), hello("monitord"), failure(2, 1045, "#28000Access denied for user 'monitord'"))
}

func TestTalk(t *testing.T) {
	soon := func(c *config) { c.Timeout = monitors.Duration(300 * time.Millisecond) }
	probe := func(c *config) { c.User = "probe" }
	denied := failure(2, 1045, "#28000Access denied for user 'probe'")
	for _, c := range []struct {
		name     string
		greeting string
		exchange []string
		change   func(*config)
		reason   string
	}{
		{name: "an unknown user is denied", greeting: handshake("8.4.3"), exchange: []string{hello("monitord"), denied}},
		{name: "an unknown user is let in", greeting: handshake("8.4.3"), exchange: []string{hello("monitord"), okay, quit, ""}},
		{name: "a user is let in", greeting: handshake("8.4.3"), exchange: []string{hello("probe"), okay, quit, ""}, change: probe},
		{
			name: "a user is denied", greeting: handshake("8.4.3"), exchange: []string{hello("probe"), denied}, change: probe,
			reason: `user sent, but the answer is "error 1045: Access denied for user 'probe'", wanted OK`,
		},
		{name: "another way", greeting: handshake("8.4.3"), exchange: []string{hello("probe"), frame(2, []byte(change)), frame(3, []byte{0}), "\x03\x00\x00\x04\x00\x00\x00", quit, ""}, change: probe},
		{
			name: "an older way, denied", greeting: handshake("5.5.5-10.11.6-MariaDB"),
			exchange: []string{hello("monitord"), frame(2, []byte("\xfemysql_native_password\x00abc\x00")), frame(3, nil), failure(4, 1698, "#28000Access denied")},
		},
		{
			name: "too many later", greeting: handshake("8.4.3"), exchange: []string{hello("monitord"), failure(2, 1040, "#08004Too many connections")},
			reason: `user sent, but the answer is "error 1040: Too many connections", wanted OK`,
		},
		{name: "too many", greeting: failure(0, 1040, "Too many connections"), reason: `connected, but the greeting is "error 1040: Too many connections", wanted a handshake`},
		{
			name: "blocked", greeting: failure(0, 1129, "Host '10.0.0.1' is blocked because of many connection errors; unblock with 'mariadb-admin flush-hosts'"),
			reason: `the greeting is "error 1129: Host '10.0.0.1' is blocked because of many connection errors; unblock with`,
		},
		{name: "no user of this address", greeting: failure(0, 1130, "Host '10.0.0.1' is not allowed to connect to this MariaDB server")},
		{
			name: "no user of this address, and one is wanted", greeting: failure(0, 1130, "Host '10.0.0.1' is not allowed to connect"), change: probe,
			reason: `connected, but the greeting is "error 1130: Host '10.0.0.1' is not allowed to connect", wanted a handshake`,
		},
		{name: "version", greeting: handshake("8.4.3"), exchange: []string{hello("monitord"), denied}, change: func(c *config) { c.Version = `^8\.` }},
		{name: "another version", greeting: handshake("5.7.44"), change: func(c *config) { c.Version = `^8\.` }, reason: `connected, but the version is "5.7.44", wanted a match of "^8\\."`},
		{name: "old protocol", greeting: frame(0, []byte("\x093.23.58\x00")), reason: "wanted a handshake of protocol version 10"},
		{name: "cut short", greeting: frame(0, []byte("\x0a8.4.3\x00\x01\x02")), reason: "wanted a handshake of protocol version 10"},
		{name: "version without end", greeting: frame(0, []byte("\x0a"+strings.Repeat("8", 500))), reason: "wanted a handshake of protocol version 10"},
		{name: "empty", greeting: "\x00\x00\x00\x00", reason: "it is no packet of MySQL"},
		{name: "half of it", greeting: handshake("8.4.3")[:20], change: soon, reason: "connected, but no greeting within 300ms; received "},
		{name: "no answer", greeting: handshake("8.4.3"), exchange: []string{hello("monitord"), ""}, change: soon, reason: "user sent, but no answer within 300ms; nothing was received"},
		{name: "a wrong number", greeting: handshake("8.4.3"), exchange: []string{hello("monitord"), failure(5, 1045, "x")}, reason: "wanted a packet number 2"},
		{name: "a short error", greeting: frame(0, []byte{errorPacket, 1}), reason: "wanted a handshake"},
		{name: "something else", greeting: handshake("8.4.3"), exchange: []string{hello("monitord"), frame(2, []byte{1, 4})}, reason: "wanted OK, or an error"},
	} {
		for _, address := range dialtest.Loopbacks() {
			t.Run(c.name+" "+address, func(t *testing.T) {
				m, done := mustBuild(t, c.change), make(chan struct{})
				serve := server(t, c.greeting, c.exchange...)
				dialoguetest.Verify(t, m, dialtest.Serve(t, address, func(conn net.Conn) {
					defer close(done)
					serve(conn)
				}), c.reason)
				<-done // The client is gone; the server has yet to read its last packet.
			})
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*config)
		text   string
	}{
		{"version", func(c *config) { c.Version = "(" }, "RE2"},
		{"user", func(c *config) { c.User = "a\x00b" }, "NUL"},
	} {
		_, err := build(configured(t, c.change), monitors.Site{})
		dialoguetest.WantKey(t, err, c.key, c.text)
	}
	dialoguetest.BadPlainKeys(t, func(keys dialoguetest.Keys) error {
		_, err := build(configured(t, func(c *config) {
			c.Port, c.Timeout, c.Limit, c.Source, c.IP = keys.Port, keys.Timeout, keys.Limit, keys.Source, keys.IP
		}), monitors.Site{})
		return err
	})
}
