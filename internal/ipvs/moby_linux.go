package ipvs

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	moby "github.com/moby/ipvs"
)

// mobyLibrary is the library moby/ipvs 1.1.0, for what it can do correctly. What
// it cannot:
//
//   - It asks for the number of the family IPVS once in the life of a process
//     (and calls modprobe then). With a number that is not, or no longer, the
//     kernel's it reports success for everything, or calls somebody else;
//     GetConfig panics. Therefore it is opened after the family was found, tried
//     with GetConfig, and never used after the family has moved.
//   - It waits for ever if no answer comes. Closing its socket wakes it.
//   - It does not send a destination's family or tunnel, and does not read the
//     tunnel, the engine, or counters of 64 bits.
type mobyLibrary struct{ handle *moby.Handle }

// library implements opener.
func (n *namespace) library() (library, bool, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := n.here()
	if err != nil {
		return nil, false, err
	}
	path := ""
	if !here {
		path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
	}
	handle, err := moby.New(path)
	if err != nil {
		return nil, false, err
	}
	err = guarded(func() error {
		_, err := handle.GetConfig()
		return err
	})
	return &mobyLibrary{handle}, err == nil, nil
}

func (m *mobyLibrary) Close() error {
	m.handle.Close()
	return nil
}

func (m *mobyLibrary) AddService(s Service) error    { return m.handle.NewService(mobyService(s)) }
func (m *mobyLibrary) UpdateService(s Service) error { return m.handle.UpdateService(mobyService(s)) }
func (m *mobyLibrary) RemoveService(k Key) error     { return m.handle.DelService(mobyKey(k)) }

func (m *mobyLibrary) AddDestination(k Key, d Destination) error {
	return m.handle.NewDestination(mobyKey(k), mobyDestination(d))
}

func (m *mobyLibrary) UpdateDestination(k Key, d Destination) error {
	return m.handle.UpdateDestination(mobyKey(k), mobyDestination(d))
}

func (m *mobyLibrary) RemoveDestination(k Key, a netip.AddrPort) error {
	return m.handle.DelDestination(mobyKey(k), mobyDestination(Destination{Address: a}))
}

func mobyKey(k Key) *moby.Service {
	return &moby.Service{
		Address:       k.Address.Addr().AsSlice(),
		Protocol:      uint16(k.Protocol),
		Port:          k.Address.Port(),
		FWMark:        k.FWMark,
		AddressFamily: uint16(k.Family),
	}
}

func mobyService(s Service) *moby.Service {
	m := mobyKey(s.Key)
	m.SchedName = s.Scheduler
	m.Flags = uint32(s.Flags &^ hashed)
	m.Timeout = s.Timeout
	m.Netmask = s.netmask()
	m.PEName = s.Engine
	return m
}

func mobyDestination(d Destination) *moby.Destination {
	return &moby.Destination{
		Address:         d.Address.Addr().AsSlice(),
		Port:            d.Address.Port(),
		Weight:          d.Weight,
		ConnectionFlags: uint32(d.Forward & forwardMask),
		AddressFamily:   uint16(familyOf(d.Address.Addr())),
		UpperThreshold:  d.Upper,
		LowerThreshold:  d.Lower,
	}
}
