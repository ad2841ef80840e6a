package monprog

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ownerOf is who a file belongs to. In a user namespace the files of users who have
// no number there show as those of the overflow user (user_namespaces(7)): nobody in
// it is that user, so they count as root's, and their modes say the rest.
func ownerOf(info fs.FileInfo) (uid, gid int, ok bool) {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	uid, gid = int(owner.Uid), int(owner.Gid)
	if uid == number("/proc/sys/kernel/overflowuid") && partial("/proc/self/uid_map") {
		uid = 0
	}
	if gid == number("/proc/sys/kernel/overflowgid") && partial("/proc/self/gid_map") {
		gid = 0
	}
	return uid, gid, true
}

// number is a file's, -1 if there is none.
func number(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return -1
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	return n
}

// partial reports whether a namespace has not all users: the initial one maps
// 4294967295 of them to themselves.
func partial(file string) bool {
	text, err := os.ReadFile(file)
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}
