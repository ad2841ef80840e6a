// Package clustertest tests clusters of directors as people run them: the real
// program on the machines of package lab, with bad input and faults. It holds tests
// only. In each of them no instant may have two owners of the address.
package clustertest
