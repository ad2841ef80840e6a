package heartbeat

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// keySize is AES-256's.
const keySize = 32

// A Key is the secret that all nodes of a cluster share.
type Key [keySize]byte

// String hides the key: it must not be printed by accident.
func (Key) String() string { return "(a key)" }

// GoString hides it from %#v as well.
func (k Key) GoString() string { return k.String() }

// NewKey makes a random key, in the form that a key file holds: base64 and a newline.
func NewKey() string {
	var k Key
	_, _ = rand.Read(k[:]) // never fails, says crypto/rand
	return base64.StdEncoding.EncodeToString(k[:]) + "\n"
}

// LoadKeys reads key files. The first is used to send, all are accepted; so a key is
// changed without a pause: the new one second on all nodes, then first, then the old
// one removed. A file must belong to this user or root and have mode 600 or 400;
// the same key twice is an error.
func LoadKeys(paths ...string) ([]Key, error) {
	if len(paths) == 0 {
		return nil, errors.New("no key file")
	}
	var keys []Key
	seen := map[Key]string{}
	for _, path := range paths {
		key, err := loadKey(path)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", path, err)
		}
		if other, twice := seen[key]; twice {
			return nil, fmt.Errorf("key file %s: it has the same key as %s", path, other)
		}
		seen[key] = path
		keys = append(keys, key)
	}
	return keys, nil
}

func loadKey(path string) (Key, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return Key{}, errors.Unwrap(err) // the path stands in front already
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return Key{}, err
	case !info.Mode().IsRegular():
		return Key{}, errors.New("it is no regular file")
	case info.Mode().Perm()&0o177 != 0:
		return Key{}, fmt.Errorf("mode %04o lets others at it: chmod 600", info.Mode().Perm())
	}
	if err := owned(info); err != nil {
		return Key{}, err
	}
	text, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil {
		return Key{}, err
	}
	return parseKey(string(text))
}

// parseKey takes the only line that is neither empty nor a comment (#).
func parseKey(text string) (Key, error) {
	var key Key
	found := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != keySize || found {
			return Key{}, fmt.Errorf("it does not hold one key, %d bytes in base64, as `monitord keygen` makes them", keySize)
		}
		copy(key[:], raw)
		found = true
	}
	if !found {
		return Key{}, errors.New("it is empty: `monitord keygen` makes a key")
	}
	return key, nil
}

// A keyID names a key on the wire without telling it.
type keyID [4]byte

func (k Key) id() keyID { return keyID(k.derive("key id", nil, 4)) }

// derive makes a secret for one purpose.
func (k Key) derive(purpose string, salt []byte, size int) []byte {
	// The error is for sizes above 255 hashes only.
	out, _ := hkdf.Key(sha256.New, k[:], salt, "monitord heartbeat "+purpose, size)
	return out
}
