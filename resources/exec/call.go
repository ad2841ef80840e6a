package exec

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/internal/runcmd"
)

const (
	// grace is how long a program may take to obey SIGTERM when its time is up.
	grace = 250 * time.Millisecond
	// sayingLines and sayingLength bound what an error repeats of an output.
	sayingLines, sayingLength = 5, 300
	// tailLength is how many bytes of the log an error looks at.
	tailLength = 4 << 10
)

// call runs the program with an action. As with [runcmd.Run] an error means that it
// was not run.
func (p *Program) call(ctx context.Context, action string) (runcmd.Result, error) {
	if err := monprog.Trusted(p.path); err != nil {
		return runcmd.Result{}, err
	}
	c := runcmd.Command{
		Path: p.path, Args: slices.Concat([]string{p.path}, p.args, []string{action}),
		Env: p.environ(ctx, action, os.Environ()), SeparateStderr: true, Grace: grace,
	}
	if action == "start" {
		return p.start(ctx, c)
	}
	return runcmd.Run(ctx, c)
}

// start lets a program write to a file, by way of a shell. A pipe would be held by
// every service whose script does not close its output, and either such a service
// is ended with the pipe, or it ends when it writes to nobody.
func (p *Program) start(ctx context.Context, c runcmd.Command) (runcmd.Result, error) {
	log := p.log
	if log == "" || empty(log) != nil {
		log = os.DevNull // A full disk is no reason not to start.
	}
	c.Path, c.Args = "/bin/sh", slices.Concat([]string{"sh", "-c", `exec "$@" >>"$0" 2>&1`, log}, c.Args)
	ended, err := runcmd.Run(ctx, c)
	if err == nil && log != os.DevNull {
		ended.Output = append(ended.Output, tail(log)...)
	}
	return ended, err
}

func empty(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, nil, 0o640)
}

// tail is the end of a file; nothing if it cannot be read.
func tail(file string) []byte {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-tailLength), io.SeekStart)
	}
	text, _ := io.ReadAll(io.LimitReader(f, tailLength))
	return text
}

// environ is the daemon's own environment with the class's on top of it.
func (p *Program) environ(ctx context.Context, action string, own []string) []string {
	env := slices.DeleteFunc(slices.Clone(own), func(v string) bool { return strings.HasPrefix(v, "OCF_") })
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	if action == p.class.question() {
		env = append(env, "LC_ALL=C") // The words are looked for in English.
	}
	env = append(env, p.env...)
	if deadline, ok := ctx.Deadline(); ok && p.class == ocf {
		left := max(0, time.Until(deadline).Milliseconds())
		env = append(env, "OCF_RESKEY_CRM_meta_timeout="+strconv.FormatInt(left, 10))
	}
	return env
}

// complaint is how the program failed, nil if it did not.
func (p *Program) complaint(action string, r runcmd.Result) error {
	switch {
	case r.TimedOut:
		return fmt.Errorf("%s %s did not end in time: %s%s", p.path, action, r, said(r))
	case r.Signal == 0 && r.Exit == 0:
		return nil
	case p.class == ocf && ocfError(r.Exit) != "":
		return fmt.Errorf("%s %s: %s: %s%s", p.path, action, ocfError(r.Exit), r, said(r))
	}
	return fmt.Errorf("%s %s: %s%s", p.path, action, r, said(r))
}

// said is the last lines of a program's output, as the end of an error's line;
// empty if there is none.
func said(r runcmd.Result) string {
	lines := slices.Collect(strings.Lines(string(r.Output) + "\n" + string(r.Stderr)))
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.TrimSpace(l) == "" })
	text := monprog.Line(strings.Join(lines[max(0, len(lines)-sayingLines):], " "), sayingLength)
	if text == "" {
		return ""
	}
	return ": " + text
}
