package webhook

import (
	"errors"
	"slices"
	"strings"

	"github.com/monitord/monitord/alerts"
)

// secrets are the texts that no error may hold, the longest first.
type secrets []string

// shortest is how long a part of a URL is at least that counts as a secret: what is
// shorter is a word like "hooks", and as a password worth nothing.
const shortest = 8

func (h *hook) collectSecrets() secrets {
	var s secrets
	add := func(texts ...string) {
		for _, text := range texts {
			if len(text) >= shortest {
				s = append(s, text)
			}
		}
	}
	for _, key := range []alerts.Secret{h.URL, h.Token, h.RoutingKey, h.SignSecret, h.Proxy} {
		add(key.Reveal())
	}
	for _, value := range h.Headers {
		add(value.Reveal())
	}
	add(strings.Split(h.url.Path, "/")...)
	add(strings.Split(h.url.EscapedPath(), "/")...)
	for _, values := range h.url.Query() {
		add(values...)
	}
	add(h.url.RawQuery)
	slices.SortFunc(s, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(s)
}

// blank takes the secrets out of a text: some servers repeat what they were sent.
func (s secrets) blank(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, alerts.Secret(secret).String())
	}
	return text
}

// hide takes the secrets out of an error; one without any stays as it is.
func (s secrets) hide(err error) error {
	if text := err.Error(); text != s.blank(text) {
		return errors.New(s.blank(text))
	}
	return err
}
