package telnet

import "strings"

// Commands of RFC 854.
const (
	se   = 240 // end of a subnegotiation
	sb   = 250 // begin of a subnegotiation
	will = 251
	wont = 252
	do   = 253
	dont = 254
	iac  = 255 // interpret as command
)

// A decoder parts what a telnet server sends into text and the replies that its
// negotiation calls for. It is the state machine below; the input may be split
// anywhere.
//
//	          IAC           IAC           text
//	[data] ────────▶ [command] ───────────────────▶ 0xFF, [data]
//	                     │ DO WILL DONT WONT  option
//	                     ├──────────────────▶ [option] ──▶ reply, [data]
//	                     │ SB                IAC            SE
//	                     ├──▶ [subnegotiation] ⇄ [subnegotiation, IAC] ──▶ [data]
//	                     │ NOP GA BRK ...
//	                     └──────────────────▶ [data]
//	[data] ── ESC ─▶ [escape] ── [ ─▶ [control sequence] ── @ to ~ ─▶ [data]
//
// Every option is refused, DO by WONT and WILL by DONT: that is the state both
// sides are in at the start, so no confirmation is due and nothing loops (RFC
// 854, "General considerations"; RFC 1143). DONT and WONT are agreed to by
// silence. Of the text NUL is dropped, which also makes a line end's CR NUL a
// CR, and so are the terminal's escape sequences (ECMA-48), with which switches
// surround their prompts.
type decoder struct {
	state  state
	option byte // the command that the option belongs to
}

type state int

const (
	data state = iota
	command
	option
	subnegotiation
	subnegotiationIAC
	escape
	controlSequence
)

const esc = 0x1b

// decode returns the text in a piece of input and the reply to send.
func (d *decoder) decode(in []byte) (text, reply []byte) {
	for _, b := range in {
		switch d.state {
		case data, escape, controlSequence:
			text = d.character(text, b)
		case command:
			text = d.command(text, b)
		case option:
			reply = refuse(reply, d.option, b)
			d.state = data
		case subnegotiation:
			if b == iac {
				d.state = subnegotiationIAC
			}
		case subnegotiationIAC:
			// IAC IAC is a data byte 255 of the subnegotiation. Anything but SE
			// is against RFC 855; waiting on for SE is what real clients do.
			d.state = subnegotiation
			if b == se {
				d.state = data
			}
		}
	}
	return text, reply
}

// character takes a byte outside of a command.
func (d *decoder) character(text []byte, b byte) []byte {
	switch {
	case b == iac:
		d.state = command
	case b == esc:
		d.state = escape
	case d.state == escape && b == '[':
		d.state = controlSequence
	case d.state == escape && b >= ' ' && b <= '/':
		// An intermediate byte, as in ESC ( B: the final one follows.
	case d.state == escape:
		d.state = data
	case d.state == controlSequence && b >= ' ' && b <= '?':
		// A parameter or an intermediate byte.
	case d.state == controlSequence:
		d.state = data
	case b != 0:
		text = append(text, b)
	}
	return text
}

// command takes the byte after IAC.
func (d *decoder) command(text []byte, b byte) []byte {
	d.state = data
	switch b {
	case iac:
		text = append(text, iac)
	case sb:
		d.state = subnegotiation
	case do, dont, will, wont:
		d.option, d.state = b, option
	}
	return text // NOP, GA, AYT and whatever else ask for nothing.
}

func refuse(reply []byte, request, option byte) []byte {
	switch request {
	case do:
		return append(reply, iac, wont, option)
	case will:
		return append(reply, iac, dont, option)
	}
	return reply
}

// line returns text as a line to send: IAC doubled, CR LF at its end.
func line(text string) string {
	return strings.ReplaceAll(text, "\xff", "\xff\xff") + "\r\n"
}
