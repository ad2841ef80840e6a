package mon

import (
	"fmt"

	"github.com/monitord/monitord/internal/migrate/moncf"
)

// An importer makes the sections of the TOML, and the account.
type importer struct {
	file        *moncf.File
	src         *source
	account     account
	inheritance inheritance
	// hosts are those of the groups, as the TOML has them.
	hosts map[string][]string
	// replaced is, by the lines of alerts, what they become instead of a program.
	replaced  map[int]replacement
	virtuals  []*virtual
	virtualOf map[string]*virtual
	gateways  []gateway

	// explained is true when the first watch has said what scope means.
	explained bool

	global, log, groups, services, watches, rest section
}

func newImporter(file *moncf.File, src *source) *importer {
	return &importer{file: file, src: src, inheritance: inheritanceOf(file), account: account{}, hosts: map[string][]string{}, replaced: map[int]replacement{}, virtualOf: map[string]*virtual{}}
}

func (im *importer) sections() []*section {
	return []*section{&im.global, &im.log, &im.groups, &im.services, &im.watches, &im.rest}
}

func (im *importer) all() {
	im.hostgroups()
	im.plan()
	im.head()
	im.globals()
	im.fence()
	im.virtualServices()
	for i := range im.file.Watches {
		im.watch(&im.file.Watches[i])
	}
	im.notCarried()
}

func (im *importer) head() {
	im.global.add(0, "# Made from "+comment(im.src.name)+" by monitord import.")
	im.global.add(0, `compat = "mon"  # mon's quirks stay as they are; see docs/mon.md`)
	im.global.add(0, "")
}

// comments writes the comments of an item above it.
func (im *importer) comments(s *section, indent string, src moncf.Source) {
	for _, c := range src.Comments {
		im.comment(s, indent, c)
	}
}

func (im *importer) comment(s *section, indent string, c moncf.Comment) {
	r := s.add(c.Line, indent+comment(c.Text))
	n := im.account.note(c.Line)
	// A comment inside of joined lines has been counted with these.
	*n = note{fate: Carried, rows: []*row{r}, comment: true}
}

// put writes the line that an item becomes, below its comments.
func (im *importer) put(s *section, indent string, src moncf.Source, format string, args ...any) {
	r := s.add(src.Line, indent+fmt.Sprintf(format, args...))
	r.to = src.LastLine
	im.account.carry(src, r)
	im.commentsAbove(s, indent, src)
}

// commentsAbove moves the comments of the item written last above it.
func (im *importer) commentsAbove(s *section, indent string, src moncf.Source) {
	if len(src.Comments) == 0 {
		return
	}
	item := s.rows[len(s.rows)-1]
	s.rows = s.rows[:len(s.rows)-1]
	im.comments(s, indent, src)
	s.rows = append(s.rows, item)
}

// leave accounts for an item that is not carried, and keeps its text as a comment.
func (im *importer) leave(s *section, indent string, src moncf.Source, format string, args ...any) {
	im.account.drop(src, format, args...)
	im.comments(s, indent, src)
	s.add(src.Line, indent+"# not carried: "+comment(src.Raw)).to = src.LastLine
}

// notCarried accounts for what has no place of its own.
func (im *importer) notCarried() {
	for _, a := range im.file.Aliases {
		im.leave(&im.rest, "", a.Source, "an alias is text that mon shows to its clients: write it as the description of a watch, or keep the comment")
		for _, l := range a.Text {
			im.leave(&im.rest, "", l, "text of the alias in %s", where(a.Source))
		}
	}
	for _, v := range im.file.Views {
		im.leave(&im.rest, "", v.Source, "a view is a filter of mon's clients: \"monitord status GROUP:SERVICE\" shows single watches")
		for _, l := range v.More {
			im.leave(&im.rest, "", l, "a member of the view in %s", where(v.Source))
		}
	}
	for _, r := range im.file.Replaced {
		im.leave(&im.rest, "", r.Source, "the record of the same name in line %d replaces it, in mon too", im.src.line(r.By))
	}
	for _, l := range im.file.Ignored {
		im.leave(&im.rest, "", l, "%s", im.ignored(l))
	}
	for _, c := range im.file.Trailing {
		im.comment(&im.rest, "", c)
	}
	for _, n := range im.file.Notes {
		im.account.change(moncf.Source{Line: n.Line, LastLine: n.LastLine}, "%s", n.Text)
	}
	im.warned()
}

// ignored is why mon ignores a line.
func (im *importer) ignored(l moncf.Source) string {
	for _, w := range im.file.Warnings {
		if w.Line <= l.Line && l.Line <= w.LastLine {
			return w.Text
		}
	}
	return "mon ignores it: it belongs to no record"
}

// warned marks what a warning is about: it is read otherwise than it seems.
func (im *importer) warned() {
	for _, w := range im.file.Warnings {
		src := moncf.Source{Line: w.Line, LastLine: w.LastLine}
		for line := src.Line; line <= src.LastLine; line++ {
			if n := im.account[line]; n != nil && n.fate == Carried && !n.comment && !w.FromMon {
				im.account.change(moncf.Source{Line: line, LastLine: line}, "%s", w.Text)
			}
		}
	}
}
