package watch

import (
	"fmt"
	"regexp"
	"strings"
)

// An Expr is a dependency: an expression of "group:service" with && || ! and or
// not and parentheses, by Perl's precedences as in mon. The zero value is no
// dependency.
type Expr struct {
	text string
	refs []Key
	root node
}

// A node is true or false given the values of the references.
type node func(value func(Key) bool) bool

// exprToken splits an expression; a reference is what mon takes for one.
var exprToken = regexp.MustCompile(`^(?:([a-zA-Z0-9_.-]+):([a-zA-Z0-9_.-]+)|&&|\|\||[!()]|and\b|or\b|not\b|[01]\b)`)

// ParseExpr reads an expression. Blank text is no dependency.
func ParseExpr(text string) (Expr, error) {
	if strings.TrimSpace(text) == "" {
		return Expr{}, nil
	}
	p := &exprParser{text: text}
	if err := p.scan(); err != nil {
		return Expr{}, err
	}
	root, err := p.or()
	if err == nil && p.pos < len(p.tokens) {
		err = p.unexpected()
	}
	if err != nil {
		return Expr{}, err
	}
	return Expr{text: text, refs: p.refs, root: root}, nil
}

// BrokenExpr is an expression that cannot be evaluated: mon takes it, logs the
// error at every evaluation, and leaves the dependency undecided.
func BrokenExpr(text string) Expr { return Expr{text: text} }

func (e Expr) String() string { return e.text }

// Empty reports whether there is no dependency.
func (e Expr) Empty() bool { return e.text == "" }

// Refs lists the watches that the expression names, in its order.
func (e Expr) Refs() []Key { return e.refs }

type exprParser struct {
	text   string
	tokens []string
	places []int
	refs   []Key
	pos    int
}

func (p *exprParser) scan() error {
	for at := 0; at < len(p.text); {
		rest := p.text[at:]
		if trimmed := strings.TrimLeft(rest, " \t"); trimmed != rest {
			at += len(rest) - len(trimmed)
			continue
		}
		m := exprToken.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("cannot read %q at column %d: write group:service with &&, ||, ! and parentheses", rest, at+1)
		}
		p.tokens, p.places = append(p.tokens, m[0]), append(p.places, at+1)
		if m[1] != "" {
			p.refs = append(p.refs, Key{m[1], m[2]})
		}
		at += len(m[0])
	}
	return nil
}

func (p *exprParser) next() string {
	if p.pos < len(p.tokens) {
		return p.tokens[p.pos]
	}
	return ""
}

func (p *exprParser) unexpected() error {
	if p.pos >= len(p.tokens) {
		return fmt.Errorf("the expression %q ends too early", p.text)
	}
	return fmt.Errorf("unexpected %q at column %d of %q", p.tokens[p.pos], p.places[p.pos], p.text)
}

// chain parses operands joined by one of Perl's left-associative operators.
func (p *exprParser) chain(operator string, all bool, operand func() (node, error)) (node, error) {
	first, err := operand()
	if err != nil {
		return nil, err
	}
	nodes := []node{first}
	for p.next() == operator {
		p.pos++
		n, err := operand()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	if len(nodes) == 1 {
		return first, nil
	}
	return func(value func(Key) bool) bool {
		for _, n := range nodes {
			if n(value) != all {
				return !all
			}
		}
		return all
	}, nil
}

// The precedences, loosest first: or, and, not, ||, &&, !.
func (p *exprParser) or() (node, error)      { return p.chain("or", false, p.and) }
func (p *exprParser) and() (node, error)     { return p.chain("and", true, p.not) }
func (p *exprParser) not() (node, error)     { return p.negation("not", p.not, p.orTight) }
func (p *exprParser) orTight() (node, error) { return p.chain("||", false, p.andTight) }
func (p *exprParser) andTight() (node, error) {
	return p.chain("&&", true, p.notTight)
}
func (p *exprParser) notTight() (node, error) { return p.negation("!", p.notTight, p.primary) }

func (p *exprParser) negation(operator string, again, operand func() (node, error)) (node, error) {
	if p.next() != operator {
		return operand()
	}
	p.pos++
	n, err := again()
	if err != nil {
		return nil, err
	}
	return func(value func(Key) bool) bool { return !n(value) }, nil
}

func (p *exprParser) primary() (node, error) {
	switch token := p.next(); {
	case token == "(":
		p.pos++
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.next() != ")" {
			return nil, p.unexpected()
		}
		p.pos++
		return n, nil
	case token == "0" || token == "1":
		p.pos++
		return func(func(Key) bool) bool { return token == "1" }, nil
	case strings.Contains(token, ":"):
		p.pos++
		group, service, _ := strings.Cut(token, ":")
		return func(value func(Key) bool) bool { return value(Key{group, service}) }, nil
	default:
		return nil, p.unexpected()
	}
}
