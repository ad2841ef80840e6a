//go:build !linux

package monprog

import "io/fs"

// ownerOf is made for Linux, as running programs is.
func ownerOf(fs.FileInfo) (uid, gid int, ok bool) { return 0, 0, false }
