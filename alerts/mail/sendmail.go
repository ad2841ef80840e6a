package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/monitord/monitord/internal/runcmd"

	"github.com/monitord/monitord/internal/wording"
)

// A program delivers by a program with the arguments of sendmail(8), which every
// mail server for Unix brings with it.
type program struct{ path string }

// carry implements [carrier]. The recipients are arguments, not read from the
// header (-t): what a header says can then not address anybody.
func (p *program) carry(ctx context.Context, l letter) error {
	// -i: a line of a single dot does not end the mail.
	args := []string{p.path, "-i", "-f", bare(l.from)}
	for _, to := range l.to {
		args = append(args, bare(to))
	}
	r, err := runcmd.Run(ctx, runcmd.Command{
		Path: p.path, Args: args, Env: os.Environ(), MaxOutput: 4 << 10,
		// Programs read text as the system writes it.
		Stdin: bytes.ReplaceAll(l.text, []byte("\r\n"), []byte("\n")),
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("sendmail: %w; install a mail server, or set server = \"host:port\"", err)
	case err != nil:
		return fmt.Errorf("sendmail: %w", err)
	case r.TimedOut && !r.Leftover: // a leftover means that sendmail itself had ended
		return fmt.Errorf("sendmail: %s: %s: %w", p.path, r, ctx.Err())
	case r.Exit != 0:
		return fmt.Errorf("sendmail: %s: %s: %s", p.path, r, wording.Clip(wording.OneLine(string(r.Output)), replyLimit))
	}
	return nil
}
