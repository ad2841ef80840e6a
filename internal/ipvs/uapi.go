package ipvs

// The numbers of include/uapi/linux/ip_vs.h.

const (
	familyName    = "IPVS" // IPVS_GENL_NAME
	familyVersion = 1      // IPVS_GENL_VERSION
)

// A command is IPVS_CMD_*.
type command uint8

const (
	cmdNewService command = iota + 1
	cmdSetService
	cmdDelService
	cmdGetService
	cmdNewDest
	cmdSetDest
	cmdDelDest
	cmdGetDest
	cmdNewDaemon
	cmdDelDaemon
	cmdGetDaemon
	cmdSetConfig
	cmdGetConfig
	_ // IPVS_CMD_SET_INFO is the kernel's answer only.
	cmdGetInfo
	cmdZero
)

const ( // IPVS_CMD_ATTR_*
	attrService = iota + 1
	attrDest
	attrDaemon
	attrTimeoutTCP
	attrTimeoutTCPFin
	attrTimeoutUDP
)

const ( // IPVS_SVC_ATTR_*
	svcFamily = iota + 1
	svcProtocol
	svcAddress
	svcPort
	svcFWMark
	svcScheduler
	svcFlags
	svcTimeout
	svcNetmask
	svcStats
	svcEngine
	svcStats64
)

const ( // IPVS_DEST_ATTR_*
	destAddress = iota + 1
	destPort
	destForward
	destWeight
	destUpper
	destLower
	destActive
	destInactive
	destPersistent
	destStats
	destFamily
	destStats64
	destTunnelType
	destTunnelPort
	destTunnelFlags
)

const ( // IPVS_DAEMON_ATTR_*
	daemonRole = iota + 1
	daemonInterface
	daemonSyncID
	daemonMaxLength
	daemonGroup
	daemonGroup6
	daemonPort
	daemonTTL
)

const ( // IPVS_STATS_ATTR_*
	statsConnections = iota + 1
	statsInPackets
	statsOutPackets
	statsInBytes
	statsOutBytes
	statsCPS
	statsInPPS
	statsOutPPS
	statsInBPS
	statsOutBPS
)

const ( // IPVS_INFO_ATTR_*
	infoVersion = iota + 1
	infoTableSize
)
