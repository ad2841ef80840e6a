package mailsink

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// A Message is one mail as it came in.
type Message struct {
	// From and To are the envelope's addresses, without angle brackets.
	From string
	To   []string
	// Raw is header and body, lines ending in "\r\n".
	Raw []byte
	// Helo is the name that the client gave itself, User the one it
	// authenticated as, if any.
	Helo, User string
	// Encrypted tells whether it came over TLS.
	Encrypted bool
	// UTF8 tells whether the client asked for SMTPUTF8 (RFC 6531).
	UTF8 bool
	Time time.Time
}

// Header returns the first header field of that name, with encoded words (RFC
// 2047) decoded; "" if there is none or the message cannot be parsed.
func (m Message) Header(name string) string {
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		return ""
	}
	value := parsed.Header.Get(name)
	decoded, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		return value
	}
	return decoded
}

// Subject returns the decoded subject.
func (m Message) Subject() string { return m.Header("Subject") }

// Body returns the text of a message of one part, its transfer encoding undone
// and its lines ending in "\n".
func (m Message) Body() (string, error) {
	parsed, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		return "", fmt.Errorf("message: %w", err)
	}
	var r io.Reader
	switch encoding := strings.ToLower(parsed.Header.Get("Content-Transfer-Encoding")); encoding {
	case "", "7bit", "8bit":
		r = parsed.Body
	case "quoted-printable":
		r = quotedprintable.NewReader(parsed.Body)
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, parsed.Body)
	default:
		return "", fmt.Errorf("message: transfer encoding %q is not known", encoding)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return "", fmt.Errorf("message body: %w", err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n"), nil
}
