// Package zabbix is the alert "zabbix": it tells a Zabbix server, as zabbix_sender
// does, how many hosts of the watch are down.
//
//	alert   = [{ type = "zabbix", server = "zabbix.example.org", host = "director1", key = "web.down" }]
//	upalert = [{ type = "zabbix", server = "zabbix.example.org", host = "director1", key = "web.down" }]
//
// There the item is one of type "Zabbix trapper", numeric, and that of text_key one of
// text.
package zabbix

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/alerts/wording"
)

// Config is the table of the kind.
type Config struct {
	Server  string          `toml:"server" doc:"Zabbix server or proxy, with a port if it is not 10051; no default."`
	Host    string          `toml:"host" doc:"The host that has the item; default this machine's name."`
	Key     string          `toml:"key" doc:"The item's key; no default."`
	TextKey string          `toml:"text_key" doc:"The key of an item that gets the event in a line of words; default none."`
	Timeout alerts.Duration `toml:"timeout" doc:"How long the server may take in all; default 10s."`
}

func init() {
	alerts.Register("zabbix", Config{Timeout: alerts.Duration(10 * time.Second)}, build)
}

type sender struct {
	Config
	director string
}

func build(c Config, site alerts.Site) (alerts.Alert, error) {
	if c.Server == "" {
		return nil, alerts.BadKey("server", "missing: write the server's name")
	}
	if c.Key == "" {
		return nil, alerts.BadKey("key", "missing: write the item's key, like \"web.down\"")
	}
	if c.Timeout <= 0 {
		return nil, alerts.BadKey("timeout", "%s is no time to answer in: write one like \"10s\"", c.Timeout)
	}
	if c.Host == "" {
		c.Host = site.Hostname
	}
	if _, _, err := net.SplitHostPort(c.Server); err != nil {
		c.Server = net.JoinHostPort(strings.Trim(c.Server, "[]"), "10051")
	}
	return &sender{c, site.Hostname}, nil
}

// Send implements alerts.Alert. It may be called again with the same event, or with a
// newer one instead: so it sends the state and not the change.
func (s *sender) Send(ctx context.Context, e alerts.Event) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout.Std())
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Server)
	if err != nil {
		return fmt.Errorf("zabbix: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	answer, err := exchange(conn, s.values(e))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("zabbix %s: %w", s.Server, ctx.Err())
	case err != nil:
		return fmt.Errorf("zabbix %s: %w", s.Server, err)
	}
	return s.judge(answer)
}

// judge reads what the server did with the value. One that knows no such item has got
// it all the same, and would refuse it the next time too: alerts.ErrDelivered is a
// complaint that is logged, and not tried again.
func (s *sender) judge(answer reply) error {
	switch {
	case answer.Response != "success":
		return fmt.Errorf("zabbix %s: answered %q: %s", s.Server, answer.Response, answer.Info)
	case !strings.Contains(answer.Info, "failed: 0"):
		return fmt.Errorf("%w: zabbix %s: item %q of host %q: %s", alerts.ErrDelivered, s.Server, s.Key, s.Host, answer.Info)
	}
	return nil
}

type request struct {
	Request string  `json:"request"`
	Data    []value `json:"data"`
}

type value struct {
	Host  string `json:"host"`
	Key   string `json:"key"`
	Value string `json:"value"`
	Clock int64  `json:"clock,omitempty"`
}

type reply struct {
	Response string `json:"response"`
	Info     string `json:"info"`
}

func (s *sender) values(e alerts.Event) request {
	down := 0
	for _, h := range e.Hosts {
		if h.State == alerts.HostDown && !h.Disabled {
			down++
		}
	}
	var clock int64
	if !e.Time.IsZero() {
		clock = e.Time.Unix()
	}
	r := request{Request: "sender data", Data: []value{{s.Host, s.Key, strconv.Itoa(down), clock}}}
	if s.TextKey != "" {
		r.Data = append(r.Data, value{s.Host, s.TextKey, wording.New(e, s.director).Headline(), clock})
	}
	return r
}

// header comes before each message, with the length of what follows in eight bytes,
// the least first.
const header = "ZBXD\x01"

// longest is more than any answer has.
const longest = 64 << 10

func exchange(conn io.ReadWriter, r request) (reply, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return reply{}, err
	}
	message := append([]byte(header), binary.LittleEndian.AppendUint64(nil, uint64(len(text)))...)
	if _, err := conn.Write(append(message, text...)); err != nil {
		return reply{}, err
	}
	head := make([]byte, len(header)+8)
	if _, err := io.ReadFull(conn, head); err != nil {
		return reply{}, fmt.Errorf("no answer: %w", err)
	}
	length := binary.LittleEndian.Uint64(head[len(header):])
	if !bytes.HasPrefix(head, []byte(header)) || length > longest {
		return reply{}, errors.New("what answers there is no Zabbix server")
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(conn, body); err != nil {
		return reply{}, fmt.Errorf("the answer breaks off: %w", err)
	}
	var answer reply
	if err := json.Unmarshal(body, &answer); err != nil {
		return reply{}, fmt.Errorf("the answer is not understood: %w", err)
	}
	return answer, nil
}
