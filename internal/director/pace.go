package director

import "time"

// WithDead moves the dead time, and what has to come before it in proportion.
func (t Timings) WithDead(dead time.Duration) Timings {
	usual := t.Dead
	for _, d := range []*time.Duration{&t.Suspect, &t.AckStale, &t.Fence, &t.Margin} {
		*d = time.Duration(float64(*d) * float64(dead) / float64(usual))
	}
	t.Dead = dead
	t.Patience = max(t.Patience, 4*dead)
	t.InitDead = max(t.InitDead, 10*dead)
	return t
}

// WithLease moves the lease, and its renewals in proportion.
func (t Timings) WithLease(lease time.Duration) Timings {
	t.Lease, t.Renew, t.GapLimit = lease, lease/4, lease*7/10
	return t
}
