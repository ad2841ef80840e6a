package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// modules finds the state of ip_vs and of the schedulers' modules.
func modules(schedulers []string) map[string]Fact[Module] {
	names := []string{"ip_vs"}
	for _, s := range schedulers {
		names = append(names, "ip_vs_"+s)
	}
	all := map[string]Fact[Module]{}
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		for _, n := range names {
			all[n] = Fact[Module]{Err: err}
		}
		return all
	}
	folder := filepath.Join("/lib/modules", unix.ByteSliceToString(uname.Release[:]))
	for _, n := range names {
		all[n] = fact(module(n, "/proc/modules", folder))
	}
	return all
}

// module looks in the list of loaded modules, and then in the folder of the
// kernel's. A built-in module is in no list but the folder's, so without the
// folder, as in a container, nothing is known of one that is not loaded.
func module(name, loaded, folder string) (Module, error) {
	is, err := lists(loaded, func(line string) bool { first, _, _ := strings.Cut(line, " "); return first == name })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if is {
		return Present, nil
	}
	inFile := func(line string) bool {
		path, _, _ := strings.Cut(line, ":")
		file, _, _ := strings.Cut(filepath.Base(path), ".")
		return strings.ReplaceAll(file, "-", "_") == name
	}
	builtin, err := lists(filepath.Join(folder, "modules.builtin"), inFile)
	if builtin {
		return Present, nil
	}
	loadable, err2 := lists(filepath.Join(folder, "modules.dep"), inFile)
	switch {
	case loadable:
		return Loadable, nil
	case err2 != nil:
		return "", fmt.Errorf("it is not loaded, and the kernel's modules are not here (a container?): %w", errors.Join(err2, err))
	}
	return Absent, nil
}

// lists reports whether a file has a line.
func lists(path string, isIt func(line string) bool) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadString('\n')
		if isIt(strings.TrimSpace(line)) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}
