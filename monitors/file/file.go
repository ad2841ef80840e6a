// Package file is the monitor "file": it looks at files, folders and file systems
// of this machine.
//
//	monitor = { type = "file", path = ["/srv/backup/{host}/last"], max_age = "26h", min_size = "1kB" }
//	monitor = { type = "file", path = ["/", "/var"], mounted = true, min_free = "10%", min_free_inodes = "10%" }
//	monitor = { type = "file", path = ["/etc/shadow"], owner = "root", group = "shadow", mode = "0640" }
//	monitor = { type = "file", path = ["/run/reboot-required"], absent = true }
//
// In a path, {host} stands for the host as it is written in the group: each host
// then is judged by files of its own, like the backup that it sent. A path
// without it is about this machine, and what is found there is the verdict on
// every host of the group; such a group has one host, "localhost".
//
// A host is up when all of its paths are as wanted; down when one is missing or
// otherwise, cannot be read for a fault of its disk, or gives no answer within
// the timeout, as a file on a lost NFS server does; unknown when this process may
// not look at it. Symbolic links are followed, but for absent: a link that leads
// nowhere is there.
//
// Nothing is opened unless its content is asked for, and then only plain files: a
// named pipe or a device is not touched. Of a file the first max_bytes are looked
// at; what a longer one holds beyond them is not known, and said to be so.
//
// The arguments of mon's freespace.monitor, as in /var:10%:10%, are path, mounted =
// true, min_free and min_free_inodes. What its file_change.monitor found is found by
// digest, which stays down until somebody has looked and written the new one.
//
// Defaults: timeout 10s, limit 32, max_bytes 1048576.
package file

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/monitord/monitord/monitors"
)

type config struct {
	Path    []string          `toml:"path" doc:"Absolute paths to look at, in which {host} stands for the host; no default."`
	Timeout monitors.Duration `toml:"timeout" doc:"How long the file systems may take to answer for one host; default 10s."`
	Limit   int               `toml:"limit" doc:"How many hosts are looked at at once; default 32."`

	Absent        bool              `toml:"absent" doc:"Whether the paths must not exist, which leaves nothing else to ask; default false, they must."`
	MaxAge        monitors.Duration `toml:"max_age" doc:"How long ago the last change may be at most, like \"26h\"; a time in the future is refused too; default 0, not looked at."`
	MinAge        monitors.Duration `toml:"min_age" doc:"How long ago the last change must be at least; default 0, not looked at."`
	MinSize       string            `toml:"min_size" doc:"How large the file must be at least, in bytes or like \"10kB\", \"1MiB\"; default none."`
	MaxSize       string            `toml:"max_size" doc:"How large the file may be at most, in bytes or like \"10kB\", \"1MiB\"; default none."`
	Owner         string            `toml:"owner" doc:"User, by name or number, that must own it; default any."`
	Group         string            `toml:"group" doc:"Group, by name or number, that it must belong to; default any."`
	Mode          string            `toml:"mode" doc:"Permissions that it must have, exactly, in octal like \"0640\"; default any."`
	Content       string            `toml:"content" doc:"Regular expression (RE2) that the content must match; default none."`
	ContentAbsent string            `toml:"content_absent" doc:"Regular expression (RE2) that the content must not match; default none."`
	Digest        string            `toml:"digest" doc:"Digest of the whole content, \"sha256:\" and its hexadecimal digits; default none."`
	MaxBytes      int               `toml:"max_bytes" doc:"How many bytes of the content are looked at, 1 to 104857600; default 1048576."`
	Mounted       bool              `toml:"mounted" doc:"Whether a file system must be mounted at the path; default false."`
	MinFree       string            `toml:"min_free" doc:"Free space that the path's file system must have for users, as a percentage or like \"5GiB\"; default none."`
	MinFreeInodes string            `toml:"min_free_inodes" doc:"Files that the path's file system must have room for, as a percentage or a number; default none."`
}

// placeholder is what stands for the host in a path.
const placeholder = "{host}"

func init() {
	monitors.Register("file", config{
		Timeout: monitors.Duration(10 * time.Second), Limit: 32, MaxBytes: 1 << 20,
	}, build)
}

func build(c config, _ monitors.Site) (monitors.Monitor, error) {
	w, err := newWish(c)
	if err != nil {
		return nil, err
	}
	return newMonitor(c, w.examine), nil
}

// A monitor looks at the paths of each host.
type monitor struct {
	paths   []string
	perHost bool
	each    monitors.Monitor
	looks   looks
}

// newMonitor makes a monitor that judges each path by examine.
func newMonitor(c config, examine func(ctx context.Context, path string) error) *monitor {
	m := &monitor{paths: c.Path, looks: looks{examine: examine, running: map[string]*look{}}}
	for _, path := range c.Path {
		m.perHost = m.perHost || strings.Contains(path, placeholder)
	}
	m.each = monitors.EachHost(c.Limit, c.Timeout.Std(), m.host)
	return m
}

// Check implements [monitors.Monitor].
func (m *monitor) Check(ctx context.Context, r monitors.Request) (monitors.Result, error) {
	if m.perHost || len(r.Hosts) == 0 {
		return m.each.Check(ctx, r)
	}
	once := r
	once.Hosts = r.Hosts[:1]
	result, err := m.each.Check(ctx, once)
	if err != nil {
		return result, err
	}
	all := make([]monitors.HostResult, len(r.Hosts))
	for i, host := range r.Hosts {
		all[i] = result.Hosts[0]
		all[i].Host = host
	}
	return monitors.Summarise(all), nil
}

// host looks at all paths of one host. One path that is found to be bad decides,
// whatever could not be looked at. Nothing of it is a phase of a connection.
func (m *monitor) host(ctx context.Context, host string, _ *monitors.Timings) error {
	var down, untested []error
	for _, path := range m.paths {
		err := m.looks.at(ctx, strings.ReplaceAll(path, placeholder, host))
		switch {
		case errors.Is(err, monitors.ErrUntested):
			untested = append(untested, err)
		case err != nil:
			down = append(down, err)
		}
		if ctx.Err() != nil {
			break // There is no time left for the other paths.
		}
	}
	if len(down) > 0 {
		return list(down)
	}
	return list(untested)
}

// list is errors.Join with semicolons: reasons are one line.
func list(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return joined(errs)
}

type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }
