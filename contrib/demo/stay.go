package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// stay leaves the scene to the user until ctx is done or the daemon ends.
func (d *demo) stay(ctx context.Context, in io.Reader) {
	d.invite()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.daemon.ctx, cancel)()
	mailsRead := make(chan struct{})
	go func() {
		defer close(mailsRead)
		d.showMails(ctx)
	}()
	defer func() {
		cancel()
		<-mailsRead
	}()
	typed := lines(ctx, in)
	for {
		select {
		case line, open := <-typed:
			if !open {
				typed = nil // nobody types; Ctrl-C still ends it
				continue
			}
			d.obey(line)
		case <-ctx.Done():
			return
		}
	}
}

func (d *demo) invite() {
	var text strings.Builder
	fmt.Fprintf(&text, "It all goes on until Ctrl-C. The daemon has the pid %d. Try:\n\n", d.daemon.pid())
	fmt.Fprintf(&text, "curl http://%s/\n", d.virtual)
	fmt.Fprintf(&text, "%s status --socket %s\n", d.monitord, d.socket())
	fmt.Fprintf(&text, "%s status --socket %s --watch\n", d.monitord, d.socket())
	fmt.Fprintf(&text, "%s status --socket %s web:http\n", d.monitord, d.socket())
	fmt.Fprintf(&text, "tail -f %s\n", d.daemon.log)
	text.WriteString("\nType 1, 2 or 3 and ENTER here to stop that web server, again to start it.\nMails are shown as they arrive.")
	d.block(text.String())
}

// showMails prints mails as they arrive.
func (d *demo) showMails(ctx context.Context) {
	for {
		m, err := d.mails.Next(ctx)
		if err != nil {
			return
		}
		d.event(yellow, "mail: %s", m.Subject())
		if body, err := m.Body(); err == nil {
			d.block(body)
		}
	}
}

// obey stops or starts the server that the user names.
func (d *demo) obey(line string) {
	for i, w := range d.webs {
		if strings.TrimSpace(line) != fmt.Sprint(i+1) {
			continue
		}
		verb, toggle := "is stopped", w.kill
		if w.server == nil {
			verb, toggle = "runs again", w.start
		}
		if err := toggle(); err != nil {
			d.event(red, "%v", err)
			return
		}
		d.event(plain, "%s %s", w.name, verb)
		return
	}
	d.event(plain, "type 1, 2 or 3")
}

// lines reads what is typed. A read from a terminal cannot be interrupted, so
// the goroutine may live until the program ends.
func lines(ctx context.Context, in io.Reader) <-chan string {
	typed := make(chan string)
	go func() {
		defer close(typed)
		for text := bufio.NewScanner(in); text.Scan(); {
			select {
			case typed <- text.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return typed
}
