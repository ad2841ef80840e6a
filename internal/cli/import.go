package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/monitord/monitord/internal/config"
	"github.com/monitord/monitord/internal/migrate/mon"
)

// importOptions are the flags of import.
type importOptions struct {
	mon, out    string
	json, force bool
}

func newImport() *cobra.Command {
	c := &cobra.Command{
		Use:   "import --mon FILE",
		Short: "Make a configuration of a mon.cf, and account for each of its lines",
		Long: `Make a configuration of a mon.cf, with its comments, and compat = "mon" set so that
mon's quirks stay as they are. The TOML goes to standard output, or to the file that
-o names, which is never overwritten without --force. The report goes to standard
error: what was changed and how, what was not carried and what there is instead, and
which lines are as they were. With --json it is JSON on standard output, with the
TOML in it unless -o takes that.

"monitord run -c FILE" runs a mon.cf directly, by the same way. The exit status is 1
if the result still needs a hand: the mistakes are said with the lines of FILE.`,
		Example: "  monitord import --mon /etc/mon/mon.cf -o /etc/monitord/monitord.toml",
	}
	var o importOptions
	c.Flags().StringVar(&o.mon, "mon", "", "the mon.cf `FILE`; - is standard input")
	c.Flags().StringVarP(&o.out, "out", "o", "", "write the TOML to `FILE`, readable by whom the mon.cf is")
	c.Flags().BoolVar(&o.json, "json", false, "the report as JSON, on standard output")
	c.Flags().BoolVar(&o.force, "force", false, "overwrite the file that -o names")
	_ = c.MarkFlagFilename("mon", "cf", "m4") // the flag exists
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > 0 && o.mon == "":
			return &usageError{fmt.Errorf("import needs to know what the file is: write --mon %s", args[0]), c.CommandPath()}
		case len(args) > 0:
			return &usageError{fmt.Errorf("import takes one file, and %q is another", args[0]), c.CommandPath()}
		case o.mon == "":
			return &usageError{errors.New("import needs the file: --mon FILE"), c.CommandPath()}
		}
		return importMon(c, o)
	}
	return c
}

func importMon(c *cobra.Command, o importOptions) error {
	source, err := readMon(c.InOrStdin(), o.mon)
	if err != nil {
		return err
	}
	imported, err := mon.Import(c.Context(), source.name, source.text)
	if err != nil {
		return err
	}
	if err := writeTOML(c, o, imported, source.mode); err != nil {
		return err
	}
	_, refused := imported.Load(config.Host{AnyNode: true, Env: os.LookupEnv})
	if err := reportImport(c, o, imported, refused); err != nil {
		return err
	}
	if refused != nil {
		return errors.New("the result needs your hand: correct these lines of the mon.cf and import again, or correct the TOML")
	}
	return nil
}

// largestMon bounds what is read.
const largestMon = 16 << 20

// A monSource is a mon.cf as it was read.
type monSource struct {
	name string
	text []byte
	// mode says who may read it, and so what is made of it: commands of monitors may
	// hold passwords.
	mode fs.FileMode
}

func readMon(in io.Reader, file string) (monSource, error) {
	s := monSource{name: file, mode: 0o644}
	if file == "-" {
		s.name = "standard input"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return s, err
		}
		defer func() { _ = f.Close() }() // nothing was written
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			s.mode = info.Mode().Perm() & 0o644
		}
		in = f
	}
	var err error
	if s.text, err = io.ReadAll(io.LimitReader(in, largestMon+1)); err != nil {
		return s, fmt.Errorf("read %s: %w", s.name, err)
	}
	if len(s.text) > largestMon {
		return s, fmt.Errorf("%s is larger than %d MiB", s.name, largestMon>>20)
	}
	return s, nil
}

// writeTOML writes the configuration where it is wanted.
func writeTOML(c *cobra.Command, o importOptions, imported *mon.Imported, mode fs.FileMode) error {
	if o.out == "" || o.out == "-" {
		if o.json {
			return nil // the report holds it
		}
		_, err := c.OutOrStdout().Write(imported.TOML)
		return err
	}
	f, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o200)
	switch {
	case errors.Is(err, fs.ErrExist) && o.force:
		return replaceFile(o.out, imported.TOML, mode)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already: write --force to overwrite it", o.out)
	case err != nil:
		return err
	}
	_, err = f.Write(imported.TOML)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(o.out)) // half of it is none
	}
	return err
}

// replaceFile writes a file that is there already whole or not at all: it may be the
// configuration in force, and the disk full. Who may read it may only become fewer.
func replaceFile(path string, text []byte, mode fs.FileMode) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file that could be overwritten", path)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()&mode|0o200), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// A monReport is the report as JSON.
type monReport struct {
	File     string        `json:"file"`
	Warnings []mon.Warning `json:"warnings"`
	// Errors are what the loader refuses, with the lines of the file.
	Errors []string   `json:"errors"`
	Lines  []mon.Line `json:"lines"`
	TOML   string     `json:"toml,omitempty"`
}

func reportImport(c *cobra.Command, o importOptions, imported *mon.Imported, refused error) error {
	if !o.json {
		out := c.ErrOrStderr()
		if refused != nil {
			fmt.Fprintln(out, refused)
		}
		_, err := fmt.Fprint(out, imported.Report())
		return err
	}
	r := monReport{File: imported.Name, Warnings: imported.Warnings, Errors: []string{}, Lines: imported.Lines}
	if r.Warnings == nil {
		r.Warnings = []mon.Warning{}
	}
	if refused != nil {
		r.Errors = strings.Split(refused.Error(), "\n")
	}
	if o.out == "" || o.out == "-" {
		r.TOML = string(imported.TOML)
	}
	encoder := json.NewEncoder(c.OutOrStdout())
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}
