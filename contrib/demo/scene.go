package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/mailsink"
)

// A demo is the scene with all that runs in it.
type demo struct {
	*screen
	options
	folder string // the daemon's state, socket and log
	webs   []*web
	mails  *mailsink.Server

	// virtual is the address of the virtual service; the daemon and the client
	// run once it is chosen.
	virtual    string
	daemon     *daemon
	client     *client
	stopClient func()

	moments moments
	done    []string // what has been seen
}

// open starts what the daemon needs around it.
func open(o options, out io.Writer) (_ *demo, err error) {
	d := &demo{screen: newScreen(out), options: o, stopClient: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close(), os.RemoveAll(d.folder))
		}
	}()
	// A unix socket's path may not be long (sun_path, unix(7)), so not below the
	// current folder, which may be deep.
	if d.folder, err = os.MkdirTemp("", "monitord-demo-"); err != nil {
		return nil, fmt.Errorf("a folder for the daemon: %w", err)
	}
	for i := range 3 {
		w, err := newWeb(fmt.Sprintf("web%d", i+1), fmt.Sprintf("127.0.0.%d", 101+i))
		if err != nil {
			return nil, err
		}
		d.webs = append(d.webs, w)
	}
	if d.mails, err = mailsink.Start(mailsink.Options{}); err != nil {
		return nil, err
	}
	return d, nil
}

// launch starts the daemon with a free port for the virtual service, and the
// client that asks there.
func (d *demo) launch() error {
	var err error
	if d.virtual, err = freeAddress("127.0.0.100"); err != nil {
		return err
	}
	env := []string{
		"DEMO_VIRTUAL=" + d.virtual, "DEMO_MAIL=" + d.mails.Addr(),
		"DEMO_STATE=" + d.folder, "DEMO_SOCKET=" + d.socket(),
	}
	for i, w := range d.webs {
		env = append(env, fmt.Sprintf("DEMO_WEB%d=%s", i+1, w.address))
	}
	if d.daemon, err = startDaemon(d.monitord, d.config, d.socket(), filepath.Join(d.folder, "log"), env); err != nil {
		return err
	}
	d.client = newClient(d.virtual)
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		d.client.run(ctx)
	}()
	d.stopClient = func() {
		cancel()
		<-stopped
	}
	return nil
}

// halt ends what launch started.
func (d *demo) halt() error {
	d.stopClient()
	if d.daemon == nil {
		return nil
	}
	return d.daemon.stop()
}

// close ends everything that runs; what is in the folder stays.
func (d *demo) close() error {
	errs := []error{d.halt()}
	for _, w := range d.webs {
		errs = append(errs, w.kill())
	}
	if d.mails != nil {
		errs = append(errs, d.mails.Close())
	}
	return errors.Join(errs...)
}

func (d *demo) socket() string { return filepath.Join(d.folder, "socket") }

// freeAddress is free now; somebody may take it before the daemon does.
func freeAddress(host string) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("a port for the virtual service: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// printLog shows the end of the daemon's log, and where all of it is.
func (d *demo) printLog() {
	path := filepath.Join(d.folder, "log")
	text, err := os.ReadFile(path)
	if err != nil {
		return // the daemon was never started
	}
	const most = 25
	lines := strings.SplitAfter(strings.TrimRight(string(text), "\n"), "\n")
	d.block(fmt.Sprintf("the end of the daemon's log, %s:\n%s", path, strings.Join(lines[max(len(lines)-most, 0):], "")))
}

// within gives a part of the story its time; its context ends with the daemon.
func (d *demo) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeoutCause(ctx, d.patience, fmt.Errorf("not seen within %s", d.patience))
	ctx, fail := context.WithCancelCause(ctx)
	unwatch := context.AfterFunc(d.daemon.ctx, func() { fail(context.Cause(d.daemon.ctx)) })
	return ctx, func() {
		unwatch()
		fail(nil)
		stop()
	}
}

// untilServer asks for a server's status until seen is content with it.
func (d *demo) untilServer(ctx context.Context, address string, seen func(serverStatus) bool) (serverStatus, error) {
	const pause = 50 * time.Millisecond
	for {
		s, err := d.daemon.server(ctx, address)
		if err == nil && seen(s) {
			return s, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return s, errors.Join(context.Cause(ctx), err)
		}
	}
}
