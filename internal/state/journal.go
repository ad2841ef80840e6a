package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// A Journal keeps what is only ever added to, such as the history of alerts: each
// record costs what it takes itself, where a document would be written anew for it.
// It is a file NAME.journal of lines, each a CRC-32C, a space and a record as JSON,
// so that a person can read it ("cut -c10- history.journal | jq"). When it is full it
// becomes NAME.journal.old, and the one before that is gone.
//
// A record that was written half, as by a crash or on a full disk, costs itself and
// no other. Its methods may be called from any goroutine.
type Journal struct {
	store  *Store
	path   string
	limits JournalLimits

	mu      sync.Mutex // protects what follows
	file    *os.File   // nil if it could not be opened, which the next Append tries again
	size    int64      // of whole records
	records int
}

// JournalLimits bound a journal. Between one and two files of them are kept.
type JournalLimits struct {
	// Records and Bytes are the most that one file holds; the last record may go
	// beyond the bytes.
	Records int
	Bytes   int64
	// Age is how long after its last record a file is kept; 0 is any time.
	Age time.Duration
}

const (
	journalSuffix = ".journal"
	journalOld    = ".old"
	// longestRecord bounds what is read as one record.
	longestRecord = 1 << 20
	// tooLong is how many times as long as its limit a file is not looked through at the
	// start.
	tooLong = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Journal opens a journal of the folder, or makes it. An error is the disk's; the
// journal may be used all the same, and tries again with each record.
func (s *Store) Journal(name string, limits JournalLimits) (*Journal, error) {
	j := &Journal{store: s, path: filepath.Join(s.dir, name+journalSuffix), limits: limits}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.open(); err != nil {
		return j, fmt.Errorf("open the journal %s: %w", name, err)
	}
	return j, nil
}

// open finds the end of the last whole record, and cuts off what is behind it. A file
// that is far beyond its limit, which none of this program is, is an old one at once.
func (j *Journal) open() error {
	if j.limits.Age > 0 {
		for _, path := range []string{j.path + journalOld, j.path} {
			if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > j.limits.Age {
				_ = os.Remove(path) // tried again at the next start
			}
		}
	}
	if info, err := os.Stat(j.path); err == nil && info.Mode().IsRegular() && info.Size()/tooLong > j.limits.Bytes {
		if err := os.Rename(j.path, j.path+journalOld); err != nil { // nobody has to find its end
			return err
		}
	}
	file, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	j.size, j.records = 0, 0
	at := int64(0)
	if _, err = scan(file, func(_ json.RawMessage, end int64) bool { at = end; j.records++; return true }); err == nil {
		err = file.Truncate(at)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	j.file, j.size = file, at
	return nil
}

// Append adds records. When it returns nil they are on the disk; with an error, as
// when the disk is full, none of them is in the journal.
func (j *Journal) Append(records ...any) error {
	var text []byte
	for _, r := range records {
		body, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("write to %s: %w", filepath.Base(j.path), err)
		}
		text = fmt.Appendf(text, "%08x %s\n", crc32.Checksum(body, castagnoli), body)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(text, len(records)); err != nil {
		return fmt.Errorf("write to %s: %w", filepath.Base(j.path), err)
	}
	return nil
}

func (j *Journal) append(text []byte, records int) error {
	if err := j.store.usable(); err != nil {
		return err
	}
	if j.file == nil {
		if err := j.open(); err != nil {
			return err
		}
	}
	if j.records >= j.limits.Records || j.size >= j.limits.Bytes {
		if err := j.turn(); err != nil {
			return err
		}
	}
	_, err := j.file.Write(text)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return errors.Join(err, j.cut())
	}
	j.size += int64(len(text))
	j.records += records
	return nil
}

// cut takes away half a record; what cannot be cut is cut when the file is opened again.
func (j *Journal) cut() error {
	err := j.file.Truncate(j.size)
	if err != nil {
		_ = j.file.Close() // every record of it was synced
		j.file = nil
	}
	return err
}

// turn begins a new file.
func (j *Journal) turn() error {
	if err := os.Rename(j.path, j.path+journalOld); err != nil {
		return err
	}
	_ = j.file.Close() // every record of it was synced
	j.file = nil
	if err := j.open(); err != nil {
		return err
	}
	return j.store.sync()
}

// Read calls f with each record, oldest first, until it returns false. Damaged ones
// are left out and counted.
func (j *Journal) Read(f func(json.RawMessage) bool) (damaged int, err error) {
	files, err := j.files()
	defer func() {
		for _, file := range files {
			_ = file.Close() // it was only read
		}
	}()
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", filepath.Base(j.path), err)
	}
	more := true
	for _, file := range files {
		bad, err := scan(file, func(record json.RawMessage, _ int64) bool { more = f(record); return more })
		damaged += bad
		if err != nil || !more {
			return damaged, err
		}
	}
	return damaged, nil
}

// files opens both, so that no turn comes between them.
func (j *Journal) files() (files []*os.File, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, path := range []string{j.path + journalOld, j.path} {
		file, err := os.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return files, err
		default:
			files = append(files, file)
		}
	}
	return files, nil
}

// Close closes the file; nothing is added afterwards.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// scan calls f with each whole record and the place where it ends, until f returns
// false, and counts the lines that are none.
func scan(from io.Reader, f func(record json.RawMessage, end int64) bool) (damaged int, err error) {
	lines := bufio.NewReaderSize(from, 64<<10)
	for at := int64(0); ; {
		line, err := readLine(lines)
		at += line.length
		if record, ok := parseRecord(line.text); ok && line.whole {
			if !f(record, at) {
				return damaged, nil
			}
		} else if line.length > 0 {
			damaged++
		}
		if errors.Is(err, io.EOF) {
			return damaged, nil
		}
		if err != nil {
			return damaged, err
		}
	}
}

// A journalLine is up to longestRecord bytes of a line, and how long it really is.
type journalLine struct {
	text   []byte
	length int64
	whole  bool // it ends with a newline
}

func readLine(from *bufio.Reader) (line journalLine, err error) {
	for {
		part, err := from.ReadSlice('\n')
		line.length += int64(len(part))
		if room := longestRecord - len(line.text); room > 0 {
			line.text = append(line.text, part[:min(room, len(part))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		line.whole = err == nil
		return line, err
	}
}

func parseRecord(line []byte) (json.RawMessage, bool) {
	sum, body, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if !ok || len(sum) != 8 {
		return nil, false
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	return body, err == nil && crc32.Checksum(body, castagnoli) == uint32(want)
}
