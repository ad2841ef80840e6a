// Package mailsink is an SMTP server on loopback that keeps what it is sent: the
// mailbox of the tests and of the demo. It offers STARTTLS and AUTH when told to,
// and refuses or delays what its hooks refuse or delay.
//
// Messages are kept in memory until the server is closed, so it is no place for
// real mail.
package mailsink

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Options say how the server behaves. The zero value takes every mail from
// everyone without encryption.
type Options struct {
	// TLS makes the server offer STARTTLS, or speak TLS from the first byte if
	// Implicit is set as well.
	TLS      *tls.Config
	Implicit bool
	// Users maps user names to passwords. With any, a client must authenticate
	// (PLAIN or LOGIN) before it may send.
	Users map[string]string
	// Mechanisms are offered when there are users; none means PLAIN and LOGIN.
	Mechanisms []string
	// Rcpt, if set, is asked about every recipient. Its error is what the client
	// is answered; see [Refuse].
	Rcpt func(to string) error
	// Deliver, if set, sees every message before it is kept. On an error the
	// message is refused and forgotten. It may block: ctx is done when the server
	// is closed.
	Deliver func(ctx context.Context, m Message) error
	// MaxBytes bounds a message; 0 means 16 MiB.
	MaxBytes int64
}

// Refuse returns an error for a hook: a reply with that SMTP code (RFC 5321
// section 4.2: 4xx is temporary, 5xx permanent).
func Refuse(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: text}
}

// A Server is a running sink.
type Server struct {
	opts     Options
	listener *trackingListener
	smtp     *smtp.Server
	served   chan struct{}

	// ctx is done when the server is being closed; hooks wait on it.
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex // protects the fields below
	messages []Message
	taken    int
	arrived  chan struct{} // closed and replaced at each arrival
}

// Start listens on a free port of the IPv4 loopback and serves until Close.
func Start(opts Options) (*Server, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("mail sink: %w", err)
	}
	s := &Server{
		opts:     opts,
		listener: &trackingListener{Listener: tcp, conns: map[net.Conn]struct{}{}},
		served:   make(chan struct{}),
		arrived:  make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.smtp = newSMTP(s)
	go s.serve()
	return s, nil
}

func newSMTP(s *Server) *smtp.Server {
	server := smtp.NewServer(smtp.BackendFunc(s.session))
	server.Domain = "mailsink.invalid"
	server.TLSConfig = s.opts.TLS
	// Whether a password may travel in clear is the client's decision to make,
	// and the tests' to observe.
	server.AllowInsecureAuth = true
	server.EnableSMTPUTF8 = true
	server.MaxMessageBytes = s.opts.MaxBytes
	if server.MaxMessageBytes == 0 {
		server.MaxMessageBytes = 16 << 20
	}
	// A client that goes away is part of the tests, not worth a line on stderr.
	server.ErrorLog = log.New(io.Discard, "", 0)
	return server
}

func (s *Server) serve() {
	defer close(s.served)
	var l net.Listener = s.listener
	if s.opts.Implicit {
		l = tls.NewListener(l, s.opts.TLS)
	}
	// It ends by the closing of its listener, which is no error to report.
	_ = s.smtp.Serve(l)
}

// Addr returns "127.0.0.1:port".
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Messages returns what has arrived so far, the oldest first.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// Next returns the oldest message that Next has not returned yet, and waits for
// one if there is none. It returns ctx's error, or net.ErrClosed once the server
// is closed.
func (s *Server) Next(ctx context.Context) (Message, error) {
	for {
		m, arrived := s.take()
		if arrived == nil {
			return m, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		case <-s.ctx.Done():
			return Message{}, net.ErrClosed
		}
	}
}

// take returns the next message, or the channel that tells of its arrival.
func (s *Server) take() (Message, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == len(s.messages) {
		return Message{}, s.arrived
	}
	s.taken++
	return s.messages[s.taken-1], nil
}

func (s *Server) keep(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// Close ends the listener and every connection, and returns when all goroutines
// have ended. Messages stay readable. Closing twice is no error.
func (s *Server) Close() error {
	s.cancel()
	err := s.listener.Close()
	<-s.served
	s.listener.closeConns()
	// All is closed already: Shutdown is called because it alone waits for the
	// connections' goroutines. What it says is about the listener closed above.
	_ = s.smtp.Shutdown(context.Background())
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// session begins a client's session; go-smtp calls it after each EHLO.
func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	_, encrypted := c.TLSConnectionState()
	return &session{server: s, encrypted: encrypted, helo: c.Hostname()}, nil
}

type session struct {
	server    *Server
	encrypted bool
	helo      string
	user      string
	from      string
	utf8      bool
	to        []string
}

func (c *session) AuthMechanisms() []string {
	switch {
	case len(c.server.opts.Users) == 0:
		return nil
	case len(c.server.opts.Mechanisms) > 0:
		return c.server.opts.Mechanisms
	}
	return []string{sasl.Plain, sasl.Login}
}

func (c *session) Auth(mechanism string) (sasl.Server, error) {
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error {
			return c.login(user, password)
		}), nil
	case sasl.Login:
		return &loginServer{login: c.login}, nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
}

func (c *session) login(user, password string) error {
	if want, known := c.server.opts.Users[user]; !known || want != password {
		return smtp.ErrAuthFailed
	}
	c.user = user
	return nil
}

func (c *session) Mail(from string, opts *smtp.MailOptions) error {
	if len(c.server.opts.Users) > 0 && c.user == "" {
		return smtp.ErrAuthRequired
	}
	c.from, c.utf8 = from, opts != nil && opts.UTF8
	return nil
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if hook := c.server.opts.Rcpt; hook != nil {
		if err := hook(to); err != nil {
			return err
		}
	}
	c.to = append(c.to, to)
	return nil
}

func (c *session) Data(r io.Reader) error {
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(r); err != nil {
		return err
	}
	m := Message{
		From: c.from, To: append([]string(nil), c.to...), Raw: raw.Bytes(),
		Helo: c.helo, User: c.user, Encrypted: c.encrypted, UTF8: c.utf8, Time: time.Now(),
	}
	if hook := c.server.opts.Deliver; hook != nil {
		if err := hook(c.server.ctx, m); err != nil {
			return err
		}
	}
	c.server.keep(m)
	return nil
}

func (c *session) Reset()        { c.from, c.to = "", nil }
func (c *session) Logout() error { return nil }

// loginServer is the server's side of AUTH LOGIN, which go-sasl has for clients
// only. It is an old draft that real servers still speak, some nothing else.
type loginServer struct {
	login func(user, password string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	l.step++
	switch {
	case l.step == 1 && response == nil:
		return []byte("Username:"), false, nil
	case l.step <= 2 && l.user == "":
		l.user = string(response)
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.login(l.user, string(response))
	}
}

// trackingListener knows its open connections, so that Close can end them.
type trackingListener struct {
	net.Listener

	mu    sync.Mutex // protects conns
	conns map[net.Conn]struct{}
}

func (l *trackingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{Conn: conn, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[tracked] = struct{}{}
	return tracked, nil
}

func (l *trackingListener) closeConns() {
	l.mu.Lock()
	open := make([]net.Conn, 0, len(l.conns))
	for conn := range l.conns {
		open = append(open, conn)
	}
	l.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	listener *trackingListener
}

func (c *trackedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
