// Package wording is for alerts of your own that write to people: it puts events in
// words, as the alerts that come with monitord do. What comes from monitors and hosts
// is bounded in it, and free of control characters.
package wording

import (
	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

// A Message is an event in words: Headline is one line of it, Details the lines below.
// It can be handed to a text/template, whose fields the documentation of alerts/mail
// names.
type Message = wording.Message

// New puts an event in words; director is the name of this machine (see
// alerts.Site.Hostname). The event is left as it is.
func New(e alerts.Event, director string) Message { return wording.New(e, director) }

// Samples are events to try templates on when the configuration is read, so that a
// misspelt field is found then and not at the first failure.
func Samples() []alerts.Event { return wording.Samples() }
