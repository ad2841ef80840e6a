package mail

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

type encryption int

const (
	inClear encryption = iota
	startTLS
	implicitTLS // from the first byte
)

// Bounds on a server's talk: that of a sane one is a few lines long.
const (
	replyLimit   = 300       // characters of a reply that are repeated in an error
	receiveLimit = 256 << 10 // bytes in a whole session
	quitPatience = 2 * time.Second
)

// A server delivers by SMTP (RFC 5321).
//
// It speaks go-mail's smtp.Client, not its mail.Client: that one sends to nobody
// if one of the recipients is refused, leaves the connection open when STARTTLS
// or the login fails, and heeds the context while connecting only.
type server struct {
	addr, host string
	encryption encryption
	tls        *tls.Config
	helo       string
	user       string
	password   alerts.Secret
}

// carry implements [carrier].
func (s *server) carry(ctx context.Context, l letter) error {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		if dialing, ok := errors.AsType[*net.OpError](err); ok {
			err = dialing.Err
		}
		return s.fault(ctx, "connecting", err)
	}
	defer func() { _ = raw.Close() }()
	// Closing ends every read and write there is, the TLS handshake's as well.
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()

	c, err := s.connect(ctx, &limitedConn{Conn: raw, left: receiveLimit})
	if err != nil {
		return err
	}
	refused, err := s.transact(ctx, c, l)
	if err != nil {
		return err
	}
	// It is delivered: what the farewell brings is of no interest, and a server
	// that does not answer it is not waited for.
	_ = raw.SetDeadline(time.Now().Add(quitPatience))
	_ = c.Quit()
	if len(refused) > 0 {
		return fmt.Errorf("%w: mail server %s refused %s", alerts.ErrDelivered, s.addr, strings.Join(refused, ", "))
	}
	return nil
}

// connect greets the server, turns on TLS and logs in.
func (s *server) connect(ctx context.Context, conn net.Conn) (*smtp.Client, error) {
	if s.encryption == implicitTLS {
		secure := tls.Client(conn, s.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, s.fault(ctx, "TLS handshake", err)
		}
		conn = secure
	}
	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return nil, s.fault(ctx, "greeting", err)
	}
	if err := c.Hello(s.helo); err != nil {
		return nil, s.fault(ctx, "EHLO", err)
	}
	if s.encryption == startTLS {
		if offered, _ := c.Extension("STARTTLS"); !offered {
			return nil, fmt.Errorf("mail server %s: offers no STARTTLS; if the mail may travel in clear, set tls = \"none\"", s.addr)
		}
		if err := c.StartTLS(s.tls); err != nil {
			return nil, s.fault(ctx, "STARTTLS", err)
		}
	}
	if s.user == "" {
		return c, nil
	}
	return c, s.login(ctx, c)
}

// login takes the first mechanism that the server offers. PLAIN stands first: the
// line is encrypted or local, and it is the one that works everywhere.
func (s *server) login(ctx context.Context, c *smtp.Client) error {
	password := s.password.Reveal()
	_, offer := c.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(offer))
	for _, m := range []struct {
		name string
		auth smtp.Auth
	}{
		{"PLAIN", smtp.PlainAuth("", s.user, password, s.host, true)},
		{"LOGIN", smtp.LoginAuth(s.user, password, s.host, true)},
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(s.user, password)},
		{"SCRAM-SHA-1", smtp.ScramSHA1Auth(s.user, password)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(s.user, password)},
	} {
		if slices.Contains(offered, m.name) {
			if err := c.Auth(m.auth); err != nil {
				return s.fault(ctx, fmt.Sprintf("login as %q", s.user), s.discreet(err))
			}
			return nil
		}
	}
	if offer == "" {
		return fmt.Errorf("mail server %s: offers no login (AUTH)", s.addr)
	}
	return fmt.Errorf("mail server %s: offers only logins that are not supported: %s", s.addr, wording.Clip(wording.OneLine(offer), replyLimit))
}

// discreet takes the password out of an error: some servers repeat the line that
// they did not like.
func (s *server) discreet(err error) error {
	password := s.password.Reveal()
	hide := func(text string) string {
		for _, secret := range []string{
			base64.StdEncoding.EncodeToString([]byte("\x00" + s.user + "\x00" + password)),
			base64.StdEncoding.EncodeToString([]byte(password)),
			strings.Trim(strconv.Quote(password), `"`), // in errors that quote what they got
			password,
		} {
			text = strings.ReplaceAll(text, secret, s.password.String())
		}
		return text
	}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return &textproto.Error{Code: reply.Code, Msg: hide(reply.Msg)}
	}
	return errors.New(hide(err.Error()))
}

// quote returns a server's reply as one line.
func quote(reply *textproto.Error) string {
	return fmt.Sprintf("%03d %s", reply.Code, wording.Clip(wording.OneLine(reply.Msg), replyLimit))
}

// transact hands over the letter. It returns the recipients that were refused
// while others were accepted, each with the reason.
func (s *server) transact(ctx context.Context, c *smtp.Client, l letter) (refused []string, err error) {
	if err := s.allowInternational(c, l); err != nil {
		return nil, err
	}
	if err := c.Mail("<" + bare(l.from) + ">"); err != nil {
		return nil, s.fault(ctx, "sender "+bare(l.from), err)
	}
	for _, to := range l.to {
		err := c.Rcpt("<" + bare(to) + ">")
		var reply *textproto.Error
		switch {
		case errors.As(err, &reply):
			refused = append(refused, fmt.Sprintf("%s (%s)", bare(to), quote(reply)))
		case err != nil:
			return nil, s.fault(ctx, "recipient "+bare(to), err)
		}
	}
	if len(refused) == len(l.to) {
		return nil, fmt.Errorf("mail server %s: refused every recipient: %s", s.addr, strings.Join(refused, ", "))
	}
	return refused, s.write(ctx, c, l.text)
}

// allowInternational makes the client claim SMTPUTF8 for addresses that need it
// only: a mail that claims it cannot be relayed to servers without it.
func (s *server) allowInternational(c *smtp.Client, l letter) error {
	i := slices.IndexFunc(append([]*mail.Address{l.from}, l.to...), international)
	c.SkipSMTPUTF8(i < 0)
	if offered, _ := c.Extension("SMTPUTF8"); i >= 0 && !offered {
		return fmt.Errorf("mail server %s: cannot take addresses outside ASCII (it offers no SMTPUTF8)", s.addr)
	}
	return nil
}

func (s *server) write(ctx context.Context, c *smtp.Client, text []byte) error {
	w, err := c.Data()
	if err != nil {
		return s.fault(ctx, "DATA", err)
	}
	if _, err := w.Write(text); err != nil {
		return s.fault(ctx, "message", err)
	}
	if err := w.Close(); err != nil {
		return s.fault(ctx, "message", err)
	}
	return nil
}

// fault says at which step the delivery ended. If that is because time was up,
// the closed connection's own error would mislead.
func (s *server) fault(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("mail server %s: %s: no answer in time: %w", s.addr, step, ctx.Err())
	}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return fmt.Errorf("mail server %s: %s: refused: %s", s.addr, step, quote(reply))
	}
	return fmt.Errorf("mail server %s: %s: %w", s.addr, step, err)
}

// limitedConn ends a session in which the other side talks without end.
type limitedConn struct {
	net.Conn
	left int
}

var errTalkative = errors.New("the server sent more than any mail server should")

func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTalkative
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
