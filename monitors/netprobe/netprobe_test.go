package netprobe

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/monitord/monitord/monitors"
)

// What it does is tested where it is done; this is that it is the same.
func TestSameAsInside(t *testing.T) {
	target, err := ParseTarget("[::1]:80", 25)
	if err != nil || target.String() != "[::1]:80" {
		t.Errorf("target %v, %v", target, err)
	}
	if _, err := NewDialer("", "5"); err == nil {
		t.Error("an address family 5 is accepted")
	}
	for _, tt := range []struct {
		err     error
		unknown bool
	}{
		{syscall.ECONNREFUSED, false},
		{syscall.ENETUNREACH, true},
		{&net.DNSError{Err: "no such host"}, true},
	} {
		if got := Verdict(tt.err); errors.Is(got, monitors.ErrUntested) != tt.unknown {
			t.Errorf("%v is %v", tt.err, got)
		}
	}
}
