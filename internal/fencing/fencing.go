// Package fencing makes sure that a machine holds nothing any more: another one by
// having its power switched off, this one by the watchdog of its kernel.
package fencing
