package exec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/resources"
)

// The folders of heartbeat's programs. Both are in its documented order.
const (
	heartbeatDir = "/etc/ha.d/resource.d"
	initDir      = "/etc/init.d"
)

// agentsDir is the name of folders of programs that are no init scripts.
const agentsDir = "resource.d"

// locate finds the program and its class.
func (c Config) locate() (path string, found class, err error) {
	given, err := parseClass(c.Class)
	if err != nil {
		return "", 0, err
	}
	name, agent := strings.CutPrefix(c.Program, "ocf:")
	switch {
	case agent && c.Class != "" && given != ocf:
		return "", 0, resources.BadKey("class", "is %q, but the program %q is an OCF agent: leave it out", c.Class, c.Program)
	case agent:
		given = ocf
	}
	if agent || c.Class == ocf.String() {
		path, err = c.agent(name)
	} else {
		path, err = monprog.Lookup(name, c.folders(given))
	}
	if err == nil {
		err = monprog.Trusted(path)
	}
	if err != nil {
		return "", 0, resources.BadKey("program", "%w", err)
	}
	if c.Class == "" && !agent {
		given = classOf(path)
	}
	return path, given, nil
}

func parseClass(text string) (class, error) {
	switch text {
	case "", "lsb":
		return lsb, nil
	case "heartbeat":
		return heartbeat, nil
	case "ocf":
		return ocf, nil
	}
	return 0, resources.BadKey("class", "%q is none of \"lsb\", \"heartbeat\" and \"ocf\"", text)
}

// classOf tells the class from the folder.
func classOf(path string) class {
	folder := filepath.Dir(path)
	switch agentsDir {
	case filepath.Base(folder):
		return heartbeat
	case filepath.Base(filepath.Dir(folder)):
		return ocf
	}
	return lsb
}

func (c Config) folders(given class) []string {
	path := c.Path
	if path == nil {
		path = []string{heartbeatDir, initDir}
	}
	if c.Class == "" || given != lsb {
		return path
	}
	return slices.DeleteFunc(slices.Clone(path), func(p string) bool { return filepath.Base(p) == agentsDir })
}

// agent finds TYPE, PROVIDER:TYPE or a path.
func (c Config) agent(name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		return monprog.Lookup(name, nil)
	}
	provider, kind, both := strings.Cut(name, ":")
	if !both {
		provider, kind = "heartbeat", name
	}
	if !agentWord.MatchString(provider) || !agentWord.MatchString(kind) {
		return "", fmt.Errorf("%q is no OCF agent: write \"ocf:PROVIDER:TYPE\", such as \"ocf:heartbeat:Filesystem\"", c.Program)
	}
	return monprog.Lookup(kind, []string{filepath.Join(c.OCFRoot, agentsDir, provider)})
}

var (
	agentWord = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// fits checks the keys that belong to some classes only.
func (c Config) fits(is class) error {
	switch {
	case is == ocf && len(c.Args) > 0:
		return resources.BadKey("args", "OCF agents have none: write params = { NAME = \"value\" }")
	case is == ocf && !c.Status:
		return resources.BadKey("status", "every OCF agent has one (monitor): leave it out")
	case is != ocf && len(c.Params) > 0:
		return resources.BadKey("params", "are for OCF agents, and this is called as class %q: write args = [\"value\"]", is)
	case is != ocf && c.Instance != "":
		return resources.BadKey("instance", "is for OCF agents, and this is called as class %q: leave it out", is)
	case strings.ContainsRune(c.Instance, '\x00'):
		return resources.BadKey("instance", "%q holds a NUL, which no variable can", c.Instance)
	}
	for _, arg := range c.Args {
		if strings.ContainsRune(arg, '\x00') {
			return resources.BadKey("args", "%q holds a NUL, which no argument can", arg)
		}
	}
	for name, value := range c.Params {
		if !paramName.MatchString(name) {
			return resources.BadKey("params", "%q is no parameter's name: write letters, digits and _", name)
		}
		if strings.ContainsRune(value, '\x00') {
			return resources.BadKey("params", "%s: %q holds a NUL, which no variable can", name, value)
		}
	}
	return nil
}

// identity tells this resource from others of the same program.
func (c Config) identity(path string) string {
	sum := sha256.New()
	for _, word := range slices.Concat([]string{path, c.Instance}, c.Args, c.params()) {
		fmt.Fprintf(sum, "%d:%s", len(word), word) // "a", "bc" is not "ab", "c"
	}
	return hex.EncodeToString(sum.Sum(nil)[:4])
}

// params are the parameters as variables, sorted.
func (c Config) params() []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(c.Params)) {
		env = append(env, "OCF_RESKEY_"+name+"="+c.Params[name])
	}
	return env
}

// ocfEnv is OCF Resource Agent API 1.1, 4.2.
func (c Config) ocfEnv(path string) []string {
	instance := c.Instance
	if instance == "" {
		instance = filepath.Base(path) + "-" + c.identity(path)
	}
	return append([]string{
		"OCF_ROOT=" + c.OCFRoot,
		"OCF_RA_VERSION_MAJOR=1",
		"OCF_RA_VERSION_MINOR=0",
		"OCF_RESOURCE_INSTANCE=" + instance,
		"OCF_RESOURCE_TYPE=" + filepath.Base(path),
		"OCF_RESOURCE_PROVIDER=" + filepath.Base(filepath.Dir(path)),
		"OCF_CHECK_LEVEL=0",
	}, c.params()...)
}

// heartbeatEnv is what heartbeat's own shellfuncs and programs expect.
func heartbeatEnv(site resources.Site) []string {
	return []string{
		"HA_DIR=/etc/ha.d",
		"HA_FUNCS=/etc/ha.d/shellfuncs",
		"HA_RESOURCEDIR=" + heartbeatDir,
		"HA_CURHOST=" + site.Hostname,
	}
}

func (c Config) logFile(path string, site resources.Site) string {
	if site.LogDir == "" {
		return ""
	}
	return filepath.Join(site.LogDir, "exec-"+filepath.Base(path)+"-"+c.identity(path)+".log")
}
