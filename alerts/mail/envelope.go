package mail

import (
	"net/mail"
	"strings"

	"github.com/monitord/monitord/alerts"
	"github.com/monitord/monitord/internal/wording"
)

// An envelope is who writes to whom.
type envelope struct {
	from   *mail.Address
	to, cc []*mail.Address
}

func parseEnvelope(c Config, site alerts.Site) (envelope, error) {
	from := c.From
	if from == "" {
		from = "monitord@" + hostname(site)
	}
	sender, err := parseAddress("from", from)
	if err != nil {
		return envelope{}, err
	}
	to, err := parseAddresses("to", c.To)
	if err != nil {
		return envelope{}, err
	}
	if len(to) == 0 {
		return envelope{}, alerts.BadKey("to", "names nobody: give at least one address, such as [\"oncall@example.com\"]")
	}
	cc, err := parseAddresses("cc", c.Cc)
	if err != nil {
		return envelope{}, err
	}
	return envelope{from: sender, to: to, cc: cc}, nil
}

func parseAddresses(key string, list []string) ([]*mail.Address, error) {
	parsed := make([]*mail.Address, 0, len(list))
	for _, text := range list {
		a, err := parseAddress(key, text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, a)
	}
	return parsed, nil
}

// parseAddress also refuses what would be an option in sendmail's argument list;
// "--" before the addresses would do, but not every sendmail knows it.
func parseAddress(key, text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil || strings.HasPrefix(a.Address, "-") || strings.ContainsFunc(text, wording.IsControl) {
		return nil, alerts.BadKey(key, "%q is not a mail address: write \"user@host\" or \"Name <user@host>\"", text)
	}
	return a, nil
}

// recipients lists every address of to and cc once, in their order.
func (v envelope) recipients() []*mail.Address {
	var all []*mail.Address
	seen := map[string]bool{}
	for _, list := range [][]*mail.Address{v.to, v.cc} {
		for _, a := range list {
			if !seen[a.Address] {
				seen[a.Address] = true
				all = append(all, a)
			}
		}
	}
	return all
}

// bare returns the address as it stands in SMTP and in sendmail's arguments: with
// its local part quoted where it must be, without a name or angle brackets.
func bare(a *mail.Address) string {
	text := (&mail.Address{Address: a.Address}).String()
	return strings.TrimSuffix(strings.TrimPrefix(text, "<"), ">")
}

// international reports whether an address needs SMTPUTF8 (RFC 6531).
func international(a *mail.Address) bool {
	return strings.ContainsFunc(a.Address, func(r rune) bool { return r > 127 })
}

func hostname(site alerts.Site) string {
	if site.Hostname == "" {
		return "localhost"
	}
	return site.Hostname
}
