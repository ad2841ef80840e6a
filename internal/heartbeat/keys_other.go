//go:build !linux

package heartbeat

import "io/fs"

const nonBlocking = 0

func owned(fs.FileInfo) error { return nil }
