// Package sim is a small deterministic world in which the directors of a cluster
// run and everything that may go wrong does. It is written against the types and
// the package comment of director, and against the rules of docs/failover.md, not
// against the machine's code.
//
// One seed is one schedule: [NewSchedule] draws a [Setup] (nodes, witnesses,
// gateways, policies, groups) and a list of [Fault] from it, and [Run] plays them
// in virtual time, next event after next event. What must never happen is in
// overlap.go (rule 1), served.go (2), moves.go (3 to 5) and owner.go (6 and 7);
// machine.go has rule 8. A group has up to three addresses (addresses.go), which a kernel
// holds each by itself: rule 1 is about each, a group is served when all of them are, and
// released when none is left. The first broken rule ends the run. [Shrink] takes faults away
// from a schedule as long as the same rule stays broken.
//
// Time in this package is virtual, the same for the whole world and counted from
// the start of the schedule; each node reads its own clock, which began somewhere
// else, drifts, and starts anew with a boot.
package sim
