//go:build linux

package hosts

import "net/http"

// Open sends a request, in a connection of its own, and returns the response to be
// read, without a limit of time but that of the request.
func (c Client) Open(r *http.Request) (*http.Response, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: c.dial}
	return transport.RoundTrip(r)
}
