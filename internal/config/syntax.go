package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// parse reads a file's text. A nil node means that it is no TOML; the report
// says why.
func parse(src *source, r *report, env func(string) (string, bool)) *node {
	if !readable(src, r) {
		return nil
	}
	spots := findSpots(src.text)
	if spots.deepest >= 0 {
		r.problem(src.place(spots.deepest), "nested too deep: %d levels are the most", maxNesting)
		return nil
	}
	if spots.err != nil && tooDeep(src.text) {
		r.problem(src.place(spots.errAt), "%s", spots.err)
		return nil
	}
	values, err := decode(src.text)
	if err == nil && spots.err != nil {
		r.problem(src.place(spots.errAt), "%s", spots.err)
		return nil
	}
	if err != nil {
		at, message := explain(src, spots, err)
		r.problem(at, "%s", message)
		return nil
	}
	return newNode(src, values, spots.root, func(text string, at place) (string, bool) {
		return r.expand(text, at, env)
	})
}

// readable refuses what no TOML parser should see, with the words for it.
func readable(src *source, r *report) bool {
	text := src.text
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		r.problem(src.place(0), "the file is written in UTF-16: save it as UTF-8")
		return false
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		r.problem(src.place(i), "there is a NUL byte: this is no text file")
		return false
	}
	if !utf8.Valid(text) {
		i := 0
		for i < len(text) {
			c, size := utf8.DecodeRune(text[i:])
			if c == utf8.RuneError && size == 1 {
				break
			}
			i += size
		}
		r.problem(src.place(i), "the byte 0x%02x is not UTF-8: save the file as UTF-8", text[i])
		return false
	}
	return true
}

// tooDeep guesses whether a text may nest so deep that the parser, which
// recurses without a bound, would exhaust the stack. It matters only where the
// other parser, which is exact, could not read the text.
func tooDeep(text []byte) bool {
	depth := 0
	for _, c := range text {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > 1000 {
			return true
		}
	}
	return false
}

func decode(text []byte) (values map[string]any, err error) {
	defer func() { // the parser panics where it finds itself at fault
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot read this: %v", p)
		}
	}()
	_, err = toml.Decode(string(text), &values)
	return values, err
}

// explain makes of a parser's error a place and a message for people.
func explain(src *source, spots spotting, err error) (place, string) {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return src.place(spots.errAt), oneLine(err.Error())
	}
	at := src.place(syntax.Position.Start)
	if again := spots.repeated; again != nil && already.MatchString(syntax.Message) && src.place(again.second).line == at.line {
		return src.place(again.second), fmt.Sprintf("%q is set twice; the first time is in line %d", again.name, src.place(again.first).line)
	}
	for _, w := range wordings {
		if m := w.says.FindStringSubmatchIndex(syntax.Message); m != nil {
			message := string(w.says.ExpandString(nil, w.want, syntax.Message, m))
			if w.key && syntax.LastKey != "" {
				message = syntax.LastKey + ": " + message
			}
			return at, message
		}
	}
	return at, oneLine(syntax.Message)
}

var already = regexp.MustCompile(`already been defined|already created`)

// wordings translate the parser's messages; key puts the key's name before.
var wordings = []struct {
	says *regexp.Regexp
	want string
	key  bool
}{
	{regexp.MustCompile(`^expected value but found '\\[nr]'`), "the value is missing", true},
	{regexp.MustCompile(`^unexpected EOF; expected value`), "the value is missing: the file ends here", true},
	{regexp.MustCompile(`^expected value but found ['"](.*)['"] instead`), "$1 is no value: a text is written in quotes, and true and false in small letters", true},
	{regexp.MustCompile(`^floats must start with a digit`), "a number begins with a digit, like 0.5", true},
	{regexp.MustCompile(`^expected '\.' or '=', but got '\\[nr]'`), "a \"=\" and a value are missing after the key", false},
	{regexp.MustCompile(`^unexpected EOF; expected key separator`), "a \"=\" and a value are missing after the key", false},
	{regexp.MustCompile(`^expected '\.' or '=', but got '(["0-9\[{]|\\').*' instead`), "a \"=\" is missing before this", false},
	{regexp.MustCompile(`^expected '\.' or '=', but got '(.*)' instead`), "unexpected $1 in a key: write key = value, and in quotes a key that holds more than letters, digits, _ and -", false},
	{regexp.MustCompile(`key name appears blank`), "the key before the \"=\" is missing", false},
	{regexp.MustCompile(`table names cannot be empty`), "the name between the brackets is missing", false},
	{regexp.MustCompile(`^expected '\.' or '\]' to end table name`), "the \"]\" after the table's name is missing", false},
	{regexp.MustCompile(`^expected end of table array name`), "the \"]]\" after the table's name is missing", false},
	{regexp.MustCompile(`^strings cannot contain newlines`), "the closing quote is missing: a string ends in its own line, but for those in three quotes", true},
	{regexp.MustCompile(`^unexpected EOF; expected '?"?(["']+)`), "the closing quotes are missing: the file ends inside of a string", true},
	{regexp.MustCompile(`^expected a comma \(','\) or array terminator \(']'\), but got end of file`), "the \"]\" of the list is missing: the file ends here", true},
	{regexp.MustCompile(`^expected a comma \(','\) or array terminator \(']'\), but got '(.*)'`), "unexpected $1 in a list: a comma or the closing \"]\" is missing before it", true},
	{regexp.MustCompile(`^expected a comma or an inline table terminator '}', but got end of file`), "the \"}\" of the table is missing: the file ends here", true},
	{regexp.MustCompile(`^expected a comma or an inline table terminator '}', but got '(.*)'`), "unexpected $1 in a table: a comma or the closing \"}\" is missing before it", true},
	{regexp.MustCompile(`^unexpected comma`), "there is nothing before this comma", true},
	{regexp.MustCompile(`^expected a top-level item to end with a newline, comment, or EOF, but got '(.*)'`), "unexpected $1 after the value: a text is written in quotes, and each key has a line of its own", false},
	{regexp.MustCompile(`^invalid escape in string '(.*)'`), "there is no escape $1 in a string: write \\\\ for a backslash, or the whole string in single quotes, which know no escapes", true},
	{regexp.MustCompile(`hexadecimal digits after '(.*)', but got`), "$1 needs more hexadecimal digits", true},
	{regexp.MustCompile(`^Invalid integer "(.*)": cannot have leading zeroes`), "$1 begins with a zero: write the number without it", true},
	{regexp.MustCompile(`^Invalid (integer|float) "(.*)": underscores`), "$2 is no number: a _ stands between two digits only", true},
	{regexp.MustCompile(`^Invalid float "(.*)": '\.'`), "$1 is no number: a digit is missing after the point", true},
	{regexp.MustCompile(`^(\S+) is out of range for int64`), "$1 is too large a number", true},
	{regexp.MustCompile(`control characters: '(.*)'`), "there is a control character, $1: write it as \\u00XX in a string", true},
	{already, "this is set already, further up in the file", true},
}
