package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// A web is one web server: /healthz says that it is well, every other path who it
// is. It can die and return at the same address. Its methods are for one
// goroutine.
type web struct {
	name, address string
	server        *http.Server  // nil while it is dead
	served        chan struct{} // closed when its accept loop has ended
}

// newWeb starts a server at a free port of an address.
func newWeb(name, address string) (*web, error) {
	w := &web{name: name, address: net.JoinHostPort(address, "0")}
	return w, w.start()
}

// start begins to serve; a server that runs already goes on.
func (w *web) start() error {
	if w.server != nil {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", w.address)
	if err != nil {
		return fmt.Errorf("web server %s: %w", w.name, err)
	}
	w.address = listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(r http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(r, "ok\n") })
	mux.HandleFunc("/", func(r http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(r, w.name+"\n") })
	// A client that goes away is part of the story and no line on the terminal.
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends by kill, which is no error to report
	}()
	w.server, w.served = server, served
	return nil
}

// kill is sudden death: the port is closed and every connection is cut.
func (w *web) kill() error {
	if w.server == nil {
		return nil
	}
	err := w.server.Close()
	<-w.served
	w.server = nil
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("web server %s: %w", w.name, err)
	}
	return nil
}
