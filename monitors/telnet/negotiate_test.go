package telnet

import (
	"bytes"
	"testing"
)

func TestDecode(t *testing.T) {
	for _, c := range []struct{ name, in, text, reply string }{
		{"text", "login: ", "login: ", ""},
		{"DO is refused", "\xff\xfd\x18login: ", "login: ", "\xff\xfc\x18"},
		{"WILL is refused", "\xff\xfb\x01login: ", "login: ", "\xff\xfe\x01"},
		{"DONT and WONT are agreed to", "\xff\xfe\x01\xff\xfc\x03login: ", "login: ", ""},
		{"several", "\xff\xfd\x18\xff\xfd\x20\xff\xfb\x03a", "a", "\xff\xfc\x18\xff\xfc\x20\xff\xfe\x03"},
		{"option 255", "\xff\xfd\xffa", "a", "\xff\xfc\xff"},
		{"between letters", "lo\xff\xf1gin\xff\xf9: ", "login: ", ""},
		{"doubled 255", "a\xff\xffb", "a\xffb", ""},
		{"subnegotiation", "a\xff\xfa\x18\x01\xff\xf0b", "ab", ""},
		{"255 in a subnegotiation", "a\xff\xfa\x18\xff\xff\xf0x\xff\xf0b", "ab", ""},
		{"DO in a subnegotiation", "a\xff\xfa\xff\xfd\x18\xff\xf0b", "ab", ""},
		{"unfinished subnegotiation", "a\xff\xfa\x18login: ", "a", ""},
		{"CR NUL", "a\r\x00b", "a\rb", ""},
		{"escape sequences", "\x1b[1;31mlogin:\x1b[0m \x1b[?25h", "login: ", ""},
		{"charset and keypad", "\x1b(B\x1b=login: ", "login: ", ""},
		{"IAC in an escape sequence", "\x1b[1\xff\xfd\x01mlogin: ", "mlogin: ", "\xff\xfc\x01"},
		{"unfinished command", "a\xff", "a", ""},
		{"unfinished option", "a\xff\xfd", "a", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for cut := range len(c.in) + 1 {
				var d decoder
				text, reply := d.decode([]byte(c.in[:cut]))
				text, reply = bytes.Clone(text), bytes.Clone(reply)
				moreText, moreReply := d.decode([]byte(c.in[cut:]))
				if got := string(text) + string(moreText); got != c.text {
					t.Errorf("cut at %d: text %q, want %q", cut, got, c.text)
				}
				if got := string(reply) + string(moreReply); got != c.reply {
					t.Errorf("cut at %d: reply %q, want %q", cut, got, c.reply)
				}
			}
		})
	}
}

// FuzzDecode: however the input is cut, text and reply are the same; the reply
// only refuses, and no command or control sequence begins in the text.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xff\xfd\x18\xff\xfb\x01\r\nlogin: "), 2)
	f.Add([]byte("a\xff\xfa\x18\x01\xff\xff\xff\xf0b\xff\xf9"), 5)
	f.Add([]byte("\x1b[1;31mlogin:\x1b(B \r\x00"), 3)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		var whole, cut decoder
		text, reply := whole.decode(in)
		var pieces, replies []byte
		for rest := in; len(rest) > 0; {
			n := min(max(piece, 1), len(rest))
			a, b := cut.decode(rest[:n])
			pieces, replies = append(pieces, a...), append(replies, b...)
			rest = rest[n:]
		}
		if !bytes.Equal(text, pieces) || !bytes.Equal(reply, replies) || whole != cut {
			t.Fatalf("%q in pieces of %d: %q %q, at once %q %q", in, piece, pieces, replies, text, reply)
		}
		if len(text)+len(reply) > len(in) {
			t.Fatalf("%q grew to text %q and reply %q", in, text, reply)
		}
		if bytes.ContainsAny(text, "\x00\x1b") {
			t.Fatalf("%q left control characters in %q", in, text)
		}
		for ; len(reply) > 0; reply = reply[3:] {
			if len(reply) < 3 || reply[0] != iac || reply[1] != wont && reply[1] != dont {
				t.Fatalf("%q is answered by %q, which is more than a refusal", in, reply)
			}
		}
	})
}

func TestLine(t *testing.T) {
	if got, want := line("a\xffb"), "a\xff\xffb\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
