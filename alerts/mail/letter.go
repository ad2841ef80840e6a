package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/mail"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

// A letter is a finished mail and where it goes.
type letter struct {
	from *mail.Address
	to   []*mail.Address
	text []byte // header and body, lines ending in "\r\n"
}

// idDomain is the right side of every Message-ID. It is the same on all
// directors, for both must compute the same thread, and by RFC 2606 nobody's.
const idDomain = "monitord.invalid"

// headerLimit bounds the text of one header field, in characters: encoded, it
// stays far below what servers accept.
const headerLimit = 200

// seal writes the letter. The same event gives the same letter, byte for byte.
func (v envelope) seal(e alerts.Event, subject, body string) (letter, error) {
	m := gomail.NewMsg(
		gomail.WithCharset(gomail.CharsetUTF8),
		gomail.WithEncoding(gomail.EncodingQP),
		gomail.WithNoDefaultUserAgent(),
	)
	m.FromMailAddress(v.from)
	m.ToMailAddress(v.to...)
	if len(v.cc) > 0 {
		m.CcMailAddress(v.cc...)
	}
	m.Subject(headerText(subject))
	m.SetDateWithValue(dated(e))
	m.SetMessageIDWithValue(v.messageID(e))
	if thread := threadID(e); thread != "" {
		m.SetGenHeader(gomail.HeaderInReplyTo, "<"+thread+">")
		m.SetGenHeader(gomail.HeaderReferences, "<"+thread+">")
	}
	// RFC 3834 section 5: no vacation notice shall answer this. Exchange listens
	// to the second only.
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("X-Auto-Response-Suppress", "All")
	m.SetGenHeader("X-Monitord-Group", headerText(e.Group))
	m.SetGenHeader("X-Monitord-Service", headerText(e.Service))
	m.SetGenHeader("X-Monitord-Kind", e.Kind.String())
	m.SetBodyString(gomail.TypeTextPlain, body)

	var text bytes.Buffer
	if _, err := m.WriteTo(&text); err != nil {
		return letter{}, fmt.Errorf("writing the mail: %w", err)
	}
	return letter{from: v.from, to: v.recipients(), text: text.Bytes()}, nil
}

// headerText makes any text safe for a header field: one line, not too long.
// Without it a monitor's output could begin a header field of its own.
func headerText(s string) string { return wording.Clip(wording.OneLine(s), headerLimit) }

func dated(e alerts.Event) time.Time {
	if e.Time.IsZero() {
		return time.Now()
	}
	return e.Time
}

// threadID names the message that all mails of an outage are replies to; "" if
// the event belongs to no outage.
func threadID(e alerts.Event) string {
	if e.Outage == "" {
		return ""
	}
	return id("thread", e.Group, e.Service, e.Outage)
}

// messageID is made of what makes an event different from others, and of whom
// the mail goes to: two alerts for one event may have different texts.
func (v envelope) messageID(e alerts.Event) string {
	parts := []string{
		"message", e.Group, e.Service, e.Outage, e.Kind.String(), e.Testing.String(), e.Period, e.Reason,
		strconv.FormatInt(e.Time.UnixNano(), 10), strconv.Itoa(e.Events),
	}
	for _, a := range v.recipients() {
		parts = append(parts, a.Address)
	}
	for _, h := range e.Hosts {
		if h.Concerned {
			parts = append(parts, h.Name)
		}
	}
	return id(parts...)
}

func id(parts ...string) string {
	sum := sha256.New()
	for _, part := range parts {
		writePart(sum, part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]) + "@" + idDomain
}

// writePart keeps "a", "bc" apart from "ab", "c" by the length in front.
func writePart(sum hash.Hash, part string) { fmt.Fprintf(sum, "%d:%s", len(part), part) }
