package mailsink

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http/httptest"
	"net/smtp"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// certificate is valid for 127.0.0.1; httptest made it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	return &tls.Config{Certificates: web.TLS.Certificates}, pool
}

const letter = "Subject: =?UTF-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nna=C3=AFve\r\n.dot\r\n"

func TestKeepsWhatItIsSent(t *testing.T) {
	s := start(t, Options{})
	if err := smtp.SendMail(s.Addr(), nil, "a@example.com", []string{"b@example.com", "c@example.com"}, []byte(letter)); err != nil {
		t.Fatal(err)
	}
	m, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.From != "a@example.com" || strings.Join(m.To, " ") != "b@example.com c@example.com" || m.Encrypted || m.User != "" || m.Helo != "localhost" {
		t.Errorf("message = %+v", m)
	}
	if got, want := m.Subject(), "Grüße"; got != want {
		t.Errorf("Subject() = %q, want %q", got, want)
	}
	body, err := m.Body()
	if want := "naïve\n.dot\n"; err != nil || body != want {
		t.Errorf("Body() = %q, %v, want %q", body, err, want)
	}
	if n := len(s.Messages()); n != 1 {
		t.Errorf("%d messages kept, want 1", n)
	}
}

func TestTLSAndLogin(t *testing.T) {
	config, roots := certificate(t)
	s := start(t, Options{TLS: config, Users: map[string]string{"mon": "secret"}})
	tests := []struct {
		name, password string
		code           int
	}{
		{name: "right", password: "secret"},
		{name: "wrong", password: "guess", code: 535},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := smtp.Dial(s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.StartTLS(&tls.Config{ServerName: "127.0.0.1", RootCAs: roots}); err != nil {
				t.Fatal(err)
			}
			err = c.Auth(smtp.PlainAuth("", "mon", tt.password, "127.0.0.1"))
			if got := code(err); got != tt.code {
				t.Errorf("AUTH: %v, want code %d", err, tt.code)
			}
		})
	}
	if err := smtp.SendMail(s.Addr(), nil, "a@example.com", []string{"b@example.com"}, []byte(letter)); err == nil {
		t.Error("a mail without authentication was taken")
	}
}

func TestImplicitTLS(t *testing.T) {
	config, roots := certificate(t)
	s := start(t, Options{TLS: config, Implicit: true})
	conn, err := tls.Dial("tcp", s.Addr(), &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
}

func TestHooksRefuse(t *testing.T) {
	s := start(t, Options{
		Rcpt: func(to string) error {
			if to == "nobody@example.com" {
				return Refuse(550, "no such user")
			}
			return nil
		},
		Deliver: func(_ context.Context, m Message) error {
			if m.From == "full@example.com" {
				return Refuse(452, "disk full")
			}
			return nil
		},
	})
	for _, tt := range []struct {
		from, to string
		code     int
	}{
		{"a@example.com", "nobody@example.com", 550},
		{"full@example.com", "b@example.com", 452},
	} {
		err := smtp.SendMail(s.Addr(), nil, tt.from, []string{tt.to}, []byte(letter))
		if got := code(err); got != tt.code {
			t.Errorf("%s to %s: %v, want code %d", tt.from, tt.to, err, tt.code)
		}
	}
	if n := len(s.Messages()); n != 0 {
		t.Errorf("%d messages kept, want none", n)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	delivering := make(chan struct{})
	s := start(t, Options{Deliver: func(ctx context.Context, _ Message) error {
		close(delivering)
		<-ctx.Done()
		return ctx.Err()
	}})
	idle, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if _, err := bufio.NewReader(idle).ReadString('\n'); err != nil {
		t.Fatalf("greeting: %v", err)
	}
	sent := make(chan error, 1)
	go func() {
		sent <- smtp.SendMail(s.Addr(), nil, "a@example.com", []string{"b@example.com"}, []byte(letter))
	}()
	<-delivering

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err == nil {
		t.Error("the mail was taken by a closed server")
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Next after Close: %v, want %v", err, net.ErrClosed)
	}
}

func TestNextHonoursContext(t *testing.T) {
	s := start(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next = %v, want %v", err, context.DeadlineExceeded)
	}
}

// code returns the SMTP code of a reply that came as an error, 0 for none.
func code(err error) int {
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return reply.Code
	}
	return 0
}
