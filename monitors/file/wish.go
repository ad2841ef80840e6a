package file

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/monitord/monitord/monitors"
)

// A wish is the configuration, parsed: what a path must be like.
type wish struct {
	config
	minSize, maxSize   int64 // -1 is not looked at
	owner, group       *identity
	mode               *fs.FileMode // permissions with setuid, setgid and sticky
	content, absent    *regexp.Regexp
	digest             string // hexadecimal, empty if not wanted
	minFree, minInodes amount
}

// An identity is a user or a group.
type identity struct {
	id   uint32
	name string // as written
}

// An amount is a part of a file system, or so many of it. The zero value wants
// nothing.
type amount struct {
	percent float64
	number  int64
	text    string // as written
}

func newWish(c config) (*wish, error) {
	w := &wish{config: c}
	for _, parse := range []func() error{
		w.checkPaths, w.checkNumbers, w.parseSizes, w.parseOwner, w.parseContent, w.parseAmounts, w.checkAbsent,
	} {
		if err := parse(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *wish) checkPaths() error {
	if len(w.Path) == 0 {
		return monitors.BadKey("path", `is missing: write the paths to look at, like ["/var/spool/backup"]`)
	}
	for _, path := range w.Path {
		if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return monitors.BadKey("path", "%q is no absolute path: write one that begins with a slash", path)
		}
	}
	return nil
}

func (w *wish) checkNumbers() error {
	switch {
	case w.Timeout <= 0:
		return monitors.BadKey("timeout", "%s leaves no time to look: write a duration, like \"10s\"", w.Timeout)
	case w.Limit < 1:
		return monitors.BadKey("limit", "%d hosts at once is too few: write 1 or more", w.Limit)
	case w.MaxBytes < 1 || w.MaxBytes > 100<<20:
		return monitors.BadKey("max_bytes", "%d is out of range: write a number from 1 to 104857600", w.MaxBytes)
	case w.MaxAge > 0 && w.MinAge > w.MaxAge:
		return monitors.BadKey("min_age", "%s is more than max_age, %s: no file is both", w.MinAge, w.MaxAge)
	}
	return nil
}

func (w *wish) parseSizes() (err error) {
	w.minSize, w.maxSize = -1, -1
	for _, size := range []struct {
		key, text string
		into      *int64
	}{{"min_size", w.MinSize, &w.minSize}, {"max_size", w.MaxSize, &w.maxSize}} {
		if size.text == "" {
			continue
		}
		if *size.into, err = parseSize(size.text); err != nil {
			return monitors.BadKey(size.key, "%w", err)
		}
	}
	if w.maxSize >= 0 && w.minSize > w.maxSize {
		return monitors.BadKey("min_size", "%s is more than max_size, %s: no file is both", w.MinSize, w.MaxSize)
	}
	return nil
}

// units are those of IEC 80000-13 and of the SI. A single letter would mean one
// to some, and the other to others.
var units = map[string]float64{
	"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

func parseSize(text string) (int64, error) {
	number := strings.TrimRight(text, "BKMGTki ")
	n, err := strconv.ParseFloat(number, 64)
	scale, known := units[strings.TrimSpace(text[len(number):])]
	if bytes := n * scale; err == nil && known && bytes >= 0 && bytes < 1<<62 {
		return int64(bytes), nil
	}
	return 0, fmt.Errorf(`%q is no size: write a number of bytes, or one with kB, MB, GB, TB, KiB, MiB, GiB or TiB, like "10MiB"`, text)
}

func (w *wish) parseOwner() error {
	if w.Owner != "" {
		id, err := identify(w.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			return monitors.BadKey("owner", "%q is no user of this machine, nor a number", w.Owner)
		}
		w.owner = id
	}
	if w.Group != "" {
		id, err := identify(w.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
		if err != nil {
			return monitors.BadKey("group", "%q is no group of this machine, nor a number", w.Group)
		}
		w.group = id
	}
	return w.parseMode()
}

func identify(name string, lookup func(string) (string, error)) (*identity, error) {
	number := name
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		if number, err = lookup(name); err != nil {
			return nil, err
		}
	}
	id, err := strconv.ParseUint(number, 10, 32)
	return &identity{id: uint32(id), name: name}, err
}

func (w *wish) parseMode() error {
	if w.Mode == "" {
		return nil
	}
	bits, err := strconv.ParseUint(w.Mode, 8, 32)
	if err != nil || bits > 0o7777 {
		return monitors.BadKey("mode", `%q is no mode: write it in octal, like "0640"`, w.Mode)
	}
	mode := fs.FileMode(bits & 0o777)
	for bit, meaning := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= meaning
		}
	}
	w.mode = &mode
	return nil
}

func (w *wish) parseContent() (err error) {
	if w.content, err = parseRegexp("content", w.Content); err != nil {
		return err
	}
	if w.absent, err = parseRegexp("content_absent", w.ContentAbsent); err != nil || w.Digest == "" {
		return err
	}
	text, ok := strings.CutPrefix(strings.ToLower(w.Digest), "sha256:")
	if raw, err := hex.DecodeString(text); !ok || err != nil || len(raw) != sha256.Size {
		return monitors.BadKey("digest", `%q is no digest: write "sha256:" and 64 hexadecimal digits`, w.Digest)
	}
	w.digest = text
	return nil
}

func parseRegexp(key, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, monitors.BadKey(key, "%w (RE2 syntax)", err)
	}
	return re, nil
}

func (w *wish) parseAmounts() (err error) {
	if w.minFree, err = parseAmount(w.MinFree, parseSize); err != nil {
		return monitors.BadKey("min_free", `%q is no part of a file system: write a percentage like "10%%", or a size like "5GiB"`, w.MinFree)
	}
	w.minInodes, err = parseAmount(w.MinFreeInodes, func(text string) (int64, error) {
		n, err := strconv.ParseUint(text, 10, 62)
		return int64(n), err
	})
	if err != nil {
		return monitors.BadKey("min_free_inodes", `%q is no number of files: write a percentage like "10%%", or a number`, w.MinFreeInodes)
	}
	return nil
}

func parseAmount(text string, parse func(string) (int64, error)) (a amount, err error) {
	if text == "" {
		return amount{}, nil
	}
	a.text = text
	if number, percent := strings.CutSuffix(text, "%"); percent {
		a.percent, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err == nil && !(a.percent >= 0 && a.percent <= 100) {
			err = strconv.ErrRange
		}
		return a, err
	}
	a.number, err = parse(text)
	return a, err
}

// checkAbsent blames what is asked of a path that must not be there.
func (w *wish) checkAbsent() error {
	if !w.Absent {
		return nil
	}
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"max_age", w.MaxAge != 0},
		{"min_age", w.MinAge != 0},
		{"min_size", w.MinSize != ""},
		{"max_size", w.MaxSize != ""},
		{"owner", w.Owner != ""},
		{"group", w.Group != ""},
		{"mode", w.Mode != ""},
		{"content", w.Content != ""},
		{"content_absent", w.ContentAbsent != ""},
		{"digest", w.Digest != ""},
		{"mounted", w.Mounted},
		{"min_free", w.MinFree != ""},
		{"min_free_inodes", w.MinFreeInodes != ""},
	} {
		if key.set {
			return monitors.BadKey(key.name, "cannot be asked of a path that must be absent: leave one of them out")
		}
	}
	return nil
}
