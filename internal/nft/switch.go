package nft

// A PortPair is two ports of a bridge: the one that frames come in by, and the one that
// they would go out by.
type PortPair struct{ From, To string }
