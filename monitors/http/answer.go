package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	nethttp "net/http"
	"strings"

	"github.com/monitord/monitord/internal/dial"
	"github.com/monitord/monitord/monitors"
)

// maxHeader bounds the header of an answer, in bytes; the interim answers before
// it included.
const maxHeader = 256 << 10

// visit makes one request and judges its answer. It returns the next stop if the
// answer is a redirect to follow.
func (p *probe) visit(ctx context.Context, s *stop, took *monitors.Timings) (next *stop, err error) {
	conn, err := p.dialer.Dial(ctx, s.target, took)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // The verdict stands by then.
	if s.url.Scheme == "https" {
		secure, err := p.tls.Handshake(ctx, conn, s.name)
		if err != nil {
			return nil, p.broken(ctx, "the TLS handshake was not finished", err)
		}
		conn = secure
	}
	request, sendErr := p.send(ctx, conn, s)
	if request == nil {
		return nil, sendErr
	}
	// A server may answer, and close, before it has read all of the request.
	answer, err := receive(conn, request) //nolint:bodyclose // Close would read an endless body to its end; the connection is closed instead.
	switch {
	case err != nil && sendErr != nil:
		return nil, p.broken(ctx, "the request could not be sent", fmt.Errorf("the request could not be sent: %w", dial.Broken(sendErr)))
	case err != nil:
		return nil, p.broken(ctx, "no answer came", err)
	}
	if next, err = p.follow(s, answer); next != nil || err != nil {
		return next, err
	}
	return nil, p.judge(ctx, answer)
}

// broken words the failure of a step after the connection; late says what the
// host was silent at. That ctx ended with the run and not with the host's time
// is EachHost's to see.
func (p *probe) broken(ctx context.Context, late string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("connected, but %s within %s", late, p.Timeout)
	}
	return fmt.Errorf("connected, but %w", err)
}

// receive reads the header of the final answer.
func receive(conn net.Conn, request *nethttp.Request) (*nethttp.Response, error) {
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	buffer := bufio.NewReader(limited)
	for {
		answer, err := nethttp.ReadResponse(buffer, request)
		switch {
		case err != nil && limited.N <= 0:
			return nil, fmt.Errorf("the header is longer than %d bytes", maxHeader)
		case errors.Is(err, io.ErrUnexpectedEOF) && limited.N == maxHeader:
			return nil, errors.New("the connection was closed without an answer")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("the connection was closed in the middle of the header")
		case err != nil:
			return nil, fmt.Errorf("the answer is broken: %w", dial.Broken(err))
		}
		// 1xx are interim (RFC 9110, 15.2), but for 101, which ends HTTP.
		if answer.StatusCode >= 200 || answer.StatusCode == nethttp.StatusSwitchingProtocols {
			limited.N = math.MaxInt64 // The body has a bound of its own.
			return answer, nil
		}
	}
}

// judge compares the final answer with what is wanted.
func (p *probe) judge(ctx context.Context, answer *nethttp.Response) error {
	if !p.status.contains(answer.StatusCode) {
		return fmt.Errorf("status %s, wanted %s", statusText(answer), p.config.Status)
	}
	body, whole, err := readBody(answer, p.MaxBody)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("status %s, but the body was not complete within %s: %d bytes came", statusText(answer), p.Timeout, len(body))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("status %s, but the body ended early: %s", statusText(answer), came(answer, body))
	case err != nil:
		return fmt.Errorf("status %s, but the body broke off after %d bytes: %w", statusText(answer), len(body), dial.Broken(err))
	}
	return p.judgeBody(body, whole)
}

func (p *probe) judgeBody(body []byte, whole bool) error {
	size := fmt.Sprintf("of %d bytes", len(body))
	if !whole {
		size = fmt.Sprintf("in its first %d bytes", len(body))
	}
	switch {
	case p.body != nil && !p.body.Match(body):
		return fmt.Errorf("the body %s does not match %q; it begins with %q", size, p.body, begin(body))
	case p.absent != nil && p.absent.Match(body):
		return fmt.Errorf("the body %s has %q, which matches body_absent %q", size, begin(p.absent.Find(body)), p.absent)
	case p.digest == nil:
		return nil
	case !whole:
		return fmt.Errorf("the body is longer than max_body = %d bytes, so its digest is not known", p.MaxBody)
	}
	return p.digest.verify(body)
}

// readBody reads at most limit bytes, and tells whether that was all.
func readBody(answer *nethttp.Response, limit int) (body []byte, whole bool, err error) {
	body, err = io.ReadAll(io.LimitReader(answer.Body, int64(limit)+1))
	if len(body) > limit {
		return body[:limit], false, nil
	}
	return body, true, err
}

func came(answer *nethttp.Response, body []byte) string {
	if answer.ContentLength < 0 {
		return fmt.Sprintf("%d bytes came", len(body))
	}
	return fmt.Sprintf("%d of %d bytes came", len(body), answer.ContentLength)
}

func begin(body []byte) string { return dial.Clean(string(body), 80) }

// statusText is the status with the server's own words, which are often the
// best explanation.
func statusText(answer *nethttp.Response) string {
	return strings.TrimSpace(dial.Clean(answer.Status, 80))
}
