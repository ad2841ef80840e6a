package netif

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A Sysctl is the key of a kernel parameter as sysctl(8) writes it, such as
// "net.ipv4.conf.all.arp_ignore". A dot inside of a name is written as a slash:
// the device eth0.5 has net.ipv4.conf.eth0/5.rp_filter. [InterfaceKey] does that.
type Sysctl string

// InterfaceKey is the key of an interface's parameter: ("net.ipv4.conf", "eth0.5",
// "rp_filter"). The interfaces "all" and "default" are the kernel's special ones.
func InterfaceKey(tree, device, name string) Sysctl {
	return Sysctl(tree + "." + strings.ReplaceAll(device, ".", "/") + "." + name)
}

// Check says what is wrong with the key as it is written.
func (s Sysctl) Check() error {
	_, err := s.path()
	return err
}

// Get reads the value, without the line end; fields of several values stay
// separated as the kernel writes them. [ErrMissing] if this kernel, or this network
// namespace, has no such key.
func (s Sysctl) Get() (string, error) {
	path, err := s.path()
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", s, fileKind(err))
	}
	return strings.TrimRight(string(raw), "\n"), nil
}

// Set writes the value. [ErrPermission] also where /proc/sys is mounted read-only,
// as in most containers.
func (s Sysctl) Set(value string) error {
	path, err := s.path()
	if err != nil {
		return err
	}
	// Not os.WriteFile, which would try to create a key that the kernel lacks. The
	// kernel takes a value in a single write.
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(value)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return fmt.Errorf("sysctl %s = %s: %w", s, value, fileKind(err))
	}
	return nil
}

// Command is the shell command that sets the value, for people.
func (s Sysctl) Command(value string) string {
	return fmt.Sprintf("sysctl -w %s=%s", s, value)
}

// path refuses what would leave /proc/sys.
func (s Sysctl) path() (string, error) {
	parts := strings.Split(string(s), ".")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(part, "/", ".")
		if part == "" || strings.Trim(parts[i], ".") == "" || strings.ContainsRune(part, 0) {
			return "", fmt.Errorf("sysctl %q: not a key such as net.ipv4.ip_forward", string(s))
		}
	}
	return filepath.Join("/proc/sys", filepath.Join(parts...)), nil
}

// fileKind gives the errors of files the kinds of this package. The path in them
// says what the key says.
func fileKind(err error) error {
	cause := err
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		cause = inner.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w (%w)", ErrMissing, cause)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w (%w)", ErrPermission, cause)
	}
	return cause
}
