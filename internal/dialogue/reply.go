package dialogue

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// A Reply is an answer as SMTP and FTP have it: a code of three digits, and the
// lines with it.
type Reply struct {
	Code  int
	Lines []string
}

// String is its first line.
func (r Reply) String() string { return r.Lines[0] }

// Reply reads a reply. One of several lines has the code with a hyphen on its first,
// and ends with the code and a blank; what stands between may be anything (RFC 959,
// 4.2; RFC 5321, 4.2.1, is narrower).
func (c *Call) Reply(ctx context.Context, what string) (Reply, error) {
	first, err := c.Line(ctx, what)
	if err != nil {
		return Reply{}, err
	}
	code, more, ok := parseReply(first)
	if !ok {
		return Reply{}, c.Unexpected(what, first, "a code of three digits")
	}
	r := Reply{Code: code, Lines: []string{first}}
	for more {
		line, err := c.Line(ctx, "end of the "+what)
		if err != nil {
			return Reply{}, err
		}
		r.Lines = append(r.Lines, line)
		if again, another, ok := parseReply(line); ok && again == code && !another {
			break
		}
	}
	return r, nil
}

// parseReply reads a line's code; more tells that other lines follow.
func parseReply(line string) (code int, more, ok bool) {
	digits, rest := line[:min(len(line), 3)], line[min(len(line), 3):]
	if len(digits) < 3 || strings.Trim(digits, "0123456789") != "" || digits[0] == '0' {
		return 0, false, false
	}
	code, err := strconv.Atoi(digits)
	return code, strings.HasPrefix(rest, "-"), err == nil && (rest == "" || rest[0] == ' ' || rest[0] == '-')
}

// Expect reads a reply, and takes any code but the wanted ones for a failure.
func (c *Call) Expect(ctx context.Context, what string, codes ...int) (Reply, error) {
	r, err := c.Reply(ctx, what)
	if err != nil || slices.Contains(codes, r.Code) {
		return r, err
	}
	wanted := make([]string, len(codes))
	for i, code := range codes {
		wanted[i] = strconv.Itoa(code)
	}
	return r, c.Unexpected(what, r.String(), strings.Join(wanted, " or "))
}

// Ask sends a command and expects a code.
func (c *Call) Ask(ctx context.Context, verb, command string, codes ...int) (Reply, error) {
	if err := c.Send(ctx, verb, command+"\r\n"); err != nil {
		return Reply{}, err
	}
	return c.Expect(ctx, "answer", codes...)
}
