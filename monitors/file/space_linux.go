package file

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func statfs(path string) (space, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return space{}, err
	}
	return space{
		block: uint64(s.Frsize), free: s.Bavail, used: s.Blocks - min(s.Bfree, s.Blocks),
		inodes: s.Files, inodesFree: s.Ffree,
	}, nil
}

// isMounted looks the path up among the mount points (proc_pid_mountinfo(5)): a
// bind mount is one too, which the device number of a path does not tell.
func isMounted(path string) (bool, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false, err
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	return listed(string(table), target), nil
}

// listed looks for a path in a table of mounts: its fifth field, in which blanks
// and backslashes are written as three octal digits.
func listed(table, path string) bool {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 4 && unescape(f[4]) == path {
			return true
		}
	}
	return false
}

func unescape(field string) string {
	var out strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if n, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(field[i])
	}
	return out.String()
}
