package moncf

import (
	"maps"
	"slices"
)

// Globals lists the names of mon's global settings, sorted.
func Globals() []string { return slices.Sorted(maps.Keys(globalKeywords)) }

// ServiceKeywords lists what may stand in a service before its first period, sorted.
func ServiceKeywords() []string { return slices.Sorted(maps.Keys(serviceKeywords)) }

// PeriodKeywords lists what may stand in a period, sorted.
func PeriodKeywords() []string { return slices.Sorted(maps.Keys(periodKeywords)) }
