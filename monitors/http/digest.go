package http

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// A digest is the wanted digest of a body.
type digest struct {
	algorithm string
	sum       func([]byte) string
	wanted    string
}

func parseDigest(text string) (*digest, error) {
	algorithm, wanted, _ := strings.Cut(text, ":")
	d := &digest{algorithm: strings.ToLower(algorithm), wanted: strings.ToLower(wanted)}
	size := 0
	switch d.algorithm {
	case "sha256":
		size, d.sum = sha256.Size, func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	case "md5": // Against accidents, not attackers; keepalived's genhash makes these.
		size, d.sum = md5.Size, func(b []byte) string { s := md5.Sum(b); return hex.EncodeToString(s[:]) }
	}
	if raw, err := hex.DecodeString(d.wanted); err != nil || size == 0 || len(raw) != size {
		return nil, fmt.Errorf(`%q is no digest: write "sha256:" and 64 hexadecimal digits, or "md5:" and 32`, text)
	}
	return d, nil
}

func (d *digest) verify(body []byte) error {
	if got := d.sum(body); got != d.wanted {
		return fmt.Errorf("the body of %d bytes has the digest %s:%s, wanted %s:%s", len(body), d.algorithm, got, d.algorithm, d.wanted)
	}
	return nil
}
