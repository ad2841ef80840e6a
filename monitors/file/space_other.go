//go:build !linux

package file

import "errors"

func statfs(string) (space, error) { return space{}, errors.ErrUnsupported }

func isMounted(string) (bool, error) { return false, errors.ErrUnsupported }
