package exec

import (
	"fmt"
	"io/fs"
	"syscall"
)

// writers says who but root may write a file, or replace what is in a folder; ""
// if nobody. In a sticky folder, such as /tmp, others replace only what is theirs.
func writers(info fs.FileInfo) string {
	owner, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	sticky := mode.IsDir() && mode&fs.ModeSticky != 0
	switch {
	case !ok:
		return "its owner is not known"
	case owner.Uid != 0:
		return fmt.Sprintf("it belongs to user %d", owner.Uid)
	case sticky:
		return ""
	case mode.Perm()&0o002 != 0:
		return "everybody may write it"
	case mode.Perm()&0o020 != 0 && owner.Gid != 0:
		return fmt.Sprintf("group %d may write it", owner.Gid)
	}
	return ""
}
