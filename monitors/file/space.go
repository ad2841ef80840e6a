package file

import (
	"errors"
	"fmt"
)

// space is what statfs(2) says of a file system.
type space struct {
	block uint64 // bytes
	// free are the blocks that users may still fill; used those that are full.
	// What is kept for root is neither, as in df.
	free, used         uint64
	inodes, inodesFree uint64
}

func (w *wish) judgeMount(path string) error {
	if !w.Mounted {
		return nil
	}
	mounted, err := isMounted(path)
	switch {
	case err != nil:
		return fmt.Errorf("may be mounted or not: %w", cause(err))
	case !mounted:
		return errors.New("is no mount point: nothing is mounted there")
	}
	return nil
}

func (w *wish) judgeSpace(path string) error {
	if w.minFree.text == "" && w.minInodes.text == "" {
		return nil
	}
	s, err := statfs(path)
	if err != nil {
		return fmt.Errorf("does not tell its free space: %w", cause(err))
	}
	if w.minFree.text != "" {
		if s.free+s.used == 0 {
			return unsure{errors.New("is on a file system that has no blocks, so min_free means nothing")}
		}
		if w.minFree.exceeds(s.free, s.free+s.used, s.block) {
			return fmt.Errorf("has %s free (%s), wanted %s", size(s.free*s.block), share(s.free, s.free+s.used), w.minFree.text)
		}
	}
	// A file system without inodes of its own, like btrfs, says 0 and has room.
	if w.minInodes.text != "" && s.inodes > 0 && w.minInodes.exceeds(s.inodesFree, s.inodes, 1) {
		return fmt.Errorf("has %d inodes free (%s), wanted %s", s.inodesFree, share(s.inodesFree, s.inodes), w.minInodes.text)
	}
	return nil
}

// exceeds reports whether the amount is more than the free ones of all, which
// count unit each.
func (a amount) exceeds(free, all, unit uint64) bool {
	if a.percent > 0 {
		return float64(free)*100 < a.percent*float64(all)
	}
	return float64(free)*float64(unit) < float64(a.number)
}

func share(free, all uint64) string { return fmt.Sprintf("%.1f%%", float64(free)*100/float64(all)) }

func size(bytes uint64) string {
	n, unit := float64(bytes), "bytes"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n < 1024 {
			break
		}
		n, unit = n/1024, next
	}
	if unit == "bytes" {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%.1f %s", n, unit)
}
