package kernellab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Of linux/ip_vs.h.
const (
	family         = "IPVS"
	familyVersion  = 1
	commandGetInfo = 15 // IPVS_CMD_GET_INFO
)

// Probe returns nil if this process may use IPVS in its network namespace, else
// what is missing. It loads the module if the kernel has it.
func Probe() error {
	if os.Geteuid() != 0 {
		return errors.New("the kernel's IPVS needs root")
	}
	// Asking for the family makes the kernel load what announces it; modprobe
	// may find more where that is switched off.
	f, err := netlink.GenlFamilyGet(family)
	if err != nil {
		if modprobe := exec.Command("modprobe", "ip_vs"); modprobe.Run() == nil {
			f, err = netlink.GenlFamilyGet(family)
		}
	}
	if err != nil {
		return fmt.Errorf("this kernel has no ip_vs: %w", err)
	}
	// The family is seen by everybody, but in a user namespace, for one, its
	// commands are refused.
	request := nl.NewNetlinkRequest(int(f.ID), 0)
	request.AddData(&nl.Genlmsg{Command: commandGetInfo, Version: familyVersion})
	if _, err := request.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("this kernel's ip_vs refuses us: %w", err)
	}
	return nil
}
