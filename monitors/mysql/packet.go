package mysql

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// What packets begin with, of those that a handshake can have ("Protocol::
// HandshakeV10" and its neighbours in MySQL's documentation of the source).
const (
	okPacket    = 0x00
	comQuit     = 0x01
	protocol10  = 0x0a
	authSwitch  = 0xfe
	errorPacket = 0xff
)

// Capabilities.
const (
	longPassword     = 1 << 0
	protocol41       = 1 << 9
	secureConnection = 1 << 15
	pluginAuth       = 1 << 19
)

// A greeting is what a server says first.
type greeting struct {
	version      string
	capabilities uint32
}

// parseGreeting reads a handshake of version 10: the server's version up to a NUL,
// a thread's number (4 bytes), a challenge (8) and a NUL, half of the
// capabilities (2), the character set (1), status (2), the other half (2).
func parseGreeting(packet []byte) (greeting, bool) {
	if packet[0] != protocol10 {
		return greeting{}, false
	}
	version, rest, found := bytes.Cut(packet[1:], []byte{0})
	if !found || len(rest) < 20 {
		return greeting{}, false
	}
	low, high := binary.LittleEndian.Uint16(rest[13:]), binary.LittleEndian.Uint16(rest[18:])
	return greeting{version: string(version), capabilities: uint32(low) | uint32(high)<<16}, true
}

// respond introduces a user with an empty proof ("Protocol::HandshakeResponse41").
func (g greeting) respond(user string) []byte {
	const (
		maxAnswer = 1 << 24
		utf8      = 33
	)
	asked := uint32(longPassword|protocol41|secureConnection|pluginAuth) & (g.capabilities | protocol41)
	b := binary.LittleEndian.AppendUint32(nil, asked)
	b = binary.LittleEndian.AppendUint32(b, maxAnswer)
	b = append(b, utf8)
	b = append(b, make([]byte, 23)...)
	b = append(b, user...)
	b = append(b, 0, 0) // the name's end; a proof of 0 bytes
	if asked&pluginAuth != 0 {
		b = append(b, "mysql_native_password\x00"...)
	}
	return b
}

// noPassword is the proof of a user without a password, in the way that a server
// asks for.
func noPassword(request []byte) []byte {
	plugin, _, _ := bytes.Cut(request[1:], []byte{0})
	switch string(plugin) {
	case "caching_sha2_password", "sha256_password":
		return []byte{0}
	}
	return nil
}

// A serverError is what a server says in place of what was asked for.
type serverError struct {
	code    int
	message string
}

// parseError reads a code (2 bytes) and a message; "#" and five letters, the SQL
// state, come first once the protocol's version is agreed.
func parseError(packet []byte) (serverError, bool) {
	if packet[0] != errorPacket || len(packet) < 3 {
		return serverError{}, false
	}
	e := serverError{code: int(binary.LittleEndian.Uint16(packet[1:]))}
	message := packet[3:]
	if len(message) >= 6 && message[0] == '#' {
		message = message[6:]
	}
	e.message = string(message)
	return e, true
}

func (e serverError) String() string { return fmt.Sprintf("error %d: %s", e.code, e.message) }

// denial reports whether the server decided about the user, and against: no right
// to the database (1044), no right (1045, and 1698 of MariaDB), none for anybody from
// this address (1130, in place of the greeting), an older way of authenticating
// (1251), a password to be changed (1862), an account that is locked (3118, and 4151
// of MariaDB), TLS wanted (3159).
func (e serverError) denial() bool {
	return slices.Contains([]int{1044, 1045, 1130, 1251, 1698, 1862, 3118, 3159, 4151}, e.code)
}
