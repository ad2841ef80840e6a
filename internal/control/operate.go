package control

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// An Operation is an operator's word about watches and their alerts.
type Operation struct {
	// Do is "ack", "unack", "disable", "enable", "pause", "resume", "silence" or
	// "unsilence".
	Do string `json:"do"`
	// Group, Service and Hosts are what it is about.
	Group   string   `json:"group,omitzero"`
	Service string   `json:"service,omitzero"`
	Hosts   []string `json:"hosts,omitzero"`
	Why     string   `json:"why,omitzero"`
	// Seconds are after what time it ends by itself; 0 is never.
	Seconds float64 `json:"seconds,omitzero"`
	// Silence is what is to be silenced, and when.
	Silence *SilenceOrder `json:"silence,omitzero"`
	// ID is the silence to take away.
	ID string `json:"id,omitzero"`
	// Sudo is who became root by sudo to say so, as root says.
	Sudo string `json:"sudo,omitzero"`
	// By is who says so. The server sets it; what a client writes is ignored.
	By string `json:"-"`
}

// A SilenceOrder is what a silence covers, and when. Its length is that of the operation.
type SilenceOrder struct {
	Group   string    `json:"group,omitzero"`
	Service string    `json:"service,omitzero"`
	Match   string    `json:"match,omitzero"`
	Host    string    `json:"host,omitzero"`
	From    time.Time `json:"from,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Cron    string    `json:"cron,omitzero"`
}

// callerKey is where a connection's context has the user on its other end.
type callerKey struct{}

func withCaller(ctx context.Context, c net.Conn) context.Context {
	if uid, known := peerUID(c); known {
		return context.WithValue(ctx, callerKey{}, uid)
	}
	return ctx
}

// maxName bounds what is believed of a name.
const maxName = 64

// caller names who calls. The kernel's word counts; root may be somebody else by sudo,
// and could say what it likes anyway.
func caller(ctx context.Context, sudo string) string {
	uid, known := ctx.Value(callerKey{}).(uint32)
	if !known {
		return "somebody"
	}
	if uid == 0 && isName(sudo) && sudo != "root" {
		return sudo + " (sudo)"
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

func isName(s string) bool {
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`():`, r) }
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, odd)
}

// operate answers operations: who says so is found out here.
func operate(h Handlers) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		order(w, r, func(ctx context.Context, o Operation) ([]string, error) {
			o.By = caller(ctx, o.Sudo)
			return h.Operate(ctx, o)
		})
	}
}

// Operate hands over an operator's word, and returns what the daemon says to it.
func (c *Client) Operate(ctx context.Context, o Operation) (said []string, err error) {
	err = c.call(ctx, http.MethodPost, "/operate", o, &said)
	return said, err
}

// Silences fills into, a pointer, with the silences that are in force or will be.
func (c *Client) Silences(ctx context.Context, into any) error {
	return c.call(ctx, http.MethodGet, "/silences", nil, into)
}
