package mon

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/monitord/monitord/internal/config"
)

// largest is the size of the largest mon.cf that is read, in bytes.
const largest = 16 << 20

// Load reads a configuration of either kind: a mon.cf, told by what is in it (see
// [Recognise]), is imported and the result loaded; anything else is TOML. Mistakes
// and warnings name the lines of the file itself. The error is [config.Problems].
func Load(ctx context.Context, path string, host config.Host) (*config.Site, error) {
	text, ok := read(path)
	if !ok || !Recognise(path, text) {
		return config.Load(path, host) // which also says what is wrong with the file
	}
	imported, err := Import(ctx, path, text)
	if err != nil {
		return nil, err
	}
	return imported.Load(host)
}

// Load loads the configuration, without a file of it.
func (i *Imported) Load(host config.Host) (*config.Site, error) {
	if i.idle > 0 {
		return nil, (&source{name: i.Name, written: i.source}).problem(i.idle, "nothing is watched in this file: there is no \"watch GROUP\" with a \"service NAME\" below it")
	}
	site, err := config.LoadText(i.Name, i.TOML, host)
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return nil, i.Problems(problems)
	}
	if err != nil {
		return nil, err
	}
	found := i.Problems(site.Warnings)
	src := source{written: i.source}
	site.Warnings = nil
	for _, w := range i.Warnings {
		if slices.ContainsFunc(found, func(p config.Problem) bool { return p.Line == w.Line && sameWords(p.Message, w.Text) }) {
			continue
		}
		site.Warnings = append(site.Warnings, config.Problem{File: i.Name, Line: w.Line, Column: src.column(w.Line), Message: w.Text})
	}
	site.Warnings = append(site.Warnings, found...)
	slices.SortStableFunc(site.Warnings, func(a, b config.Problem) int { return cmp.Compare(a.Line, b.Line) })
	return site, nil
}

// sameWords: both mon and the loader warn of a group that no watch tests.
func sameWords(loader, mon string) bool {
	return strings.HasPrefix(loader, "no watch tests host group") && strings.HasSuffix(mon, "has no watch assigned to it!")
}

// read returns the text of a regular file that is not too large.
func read(path string) ([]byte, bool) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > largest {
		return nil, false
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }() // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, largest+1))
	return text, err == nil && len(text) <= largest
}
