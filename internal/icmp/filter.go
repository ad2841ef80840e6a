package icmp

import "golang.org/x/net/bpf"

// filter makes the program that lets through, on a raw socket, replies to our
// requests and errors about them. A raw socket gets a copy of every ICMP packet
// of the machine: without it, a few hundred groups pinging at once would each
// have to read the others' replies, and lose their own in the crowd.
//
// IPv4 sockets see the IP header, IPv6 ones do not.
func (s session) filter() []bpf.Instruction {
	if s.family == ipv4Family {
		return filter4(uint32(s.id))
	}
	return filter6(uint32(s.id))
}

const (
	wholePacket = 1 << 18
	identifier  = 4 // its offset in an echo request or reply
)

func filter4(id uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadMemShift{Off: 0},          // X: the IP header's length
		bpf.LoadIndirect{Off: 0, Size: 1}, // the type
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: echoReply4, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unreachable4, SkipTrue: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: timeExceeded4, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: badParameter4, SkipTrue: 2, SkipFalse: 10},
		bpf.LoadIndirect{Off: identifier, Size: 2},
		bpf.Jump{Skip: 6},
		// An error: the quoted IP header begins behind the ICMP header.
		bpf.LoadIndirect{Off: headerLen, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
		bpf.TAX{}, // X: both IP headers' lengths
		bpf.LoadIndirect{Off: headerLen + identifier, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: id, SkipFalse: 1},
		bpf.RetConstant{Val: wholePacket},
		bpf.RetConstant{Val: 0},
	}
}

func filter6(id uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1}, // the type
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: echoReply6, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: badParameter6, SkipTrue: 2, SkipFalse: 5},
		bpf.LoadAbsolute{Off: identifier, Size: 2},
		bpf.Jump{Skip: 1},
		bpf.LoadAbsolute{Off: headerLen + ipv6Len + identifier, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: id, SkipFalse: 1},
		bpf.RetConstant{Val: wholePacket},
		bpf.RetConstant{Val: 0},
	}
}
