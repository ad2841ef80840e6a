package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Document is one kind of document, and its form.
type Document struct {
	// Name is its name in the folder: a word of letters, digits and hyphens.
	Name string
	// Version grows with each change of the form that older readers cannot cope
	// with. A document of a newer version is set aside.
	Version int
	// Older turns a document of the version that is its key into the one of the
	// version after it. One of a version that is missing here is set aside.
	Older map[int]func(json.RawMessage) (json.RawMessage, error)
}

const magic = "monitord-state"

func (d Document) file() string { return d.Name + suffix }

// head is the first line. The checksum is over the line as well: a document with
// a wrong moment is as bad as one with a wrong body.
func (d Document) head(saved time.Time, body []byte) string {
	line := fmt.Sprintf("%s name=%s version=%d saved=%s", magic, d.Name, d.Version, saved.UTC().Format(time.RFC3339Nano))
	sum := sha256.New()
	sum.Write([]byte(line + "\n"))
	sum.Write(body)
	return fmt.Sprintf("%s sha256=%x", line, sum.Sum(nil))
}

func (d Document) encode(saved time.Time, body []byte) []byte {
	head := d.head(saved, body)
	text := make([]byte, 0, len(head)+len(body)+2)
	text = append(append(text, head...), '\n')
	return append(append(text, body...), '\n')
}

// decode returns the body in the form of the present version. Its error is what
// is wrong with the document, for people.
func (d Document) decode(text []byte) (saved time.Time, body []byte, err error) {
	if len(text) == 0 {
		return saved, nil, errors.New("it is empty")
	}
	head, body, _ := bytes.Cut(text, []byte("\n"))
	body = bytes.TrimSuffix(body, []byte("\n"))
	found, saved, err := parseHead(string(head))
	switch {
	case err != nil:
		return saved, nil, err
	case found.head(saved, body) != string(head):
		return saved, nil, errors.New("its checksum is wrong: it was written half, or changed by something else")
	case found.Name != d.Name:
		return saved, nil, fmt.Errorf("it is the document %q", found.Name)
	case found.Version > d.Version:
		return saved, nil, fmt.Errorf("it was written by a newer monitord: its version is %d, this one knows %d", found.Version, d.Version)
	}
	body, err = d.migrate(found.Version, body)
	return saved, body, err
}

// parseHead reads the first line: three words between the magic and the sum.
func parseHead(line string) (d Document, saved time.Time, err error) {
	bad := errors.New("its first line is not that of a saved document")
	words := strings.Split(line, " ")
	if len(words) != 5 || words[0] != magic {
		return d, saved, bad
	}
	var values [3]string
	for i, key := range []string{"name=", "version=", "saved="} {
		value, ok := strings.CutPrefix(words[i+1], key)
		if !ok {
			return d, saved, bad
		}
		values[i] = value
	}
	d.Name = values[0]
	if d.Version, err = strconv.Atoi(values[1]); err != nil {
		return d, saved, bad
	}
	if saved, err = time.Parse(time.RFC3339Nano, values[2]); err != nil {
		return d, saved, bad
	}
	return d, saved, nil
}

func (d Document) migrate(from int, body []byte) ([]byte, error) {
	for v := from; v < d.Version; v++ {
		step := d.Older[v]
		if step == nil {
			return nil, fmt.Errorf("its version %d is too old for this monitord", from)
		}
		var err error
		if body, err = step(body); err != nil {
			return nil, fmt.Errorf("its version %d cannot be turned into %d: %w", v, v+1, err)
		}
	}
	return body, nil
}
