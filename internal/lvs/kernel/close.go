package kernel

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/monitord/monitord/internal/ipvs"
	"github.com/monitord/monitord/internal/lvs"
)

// closing bounds what Close does to the kernel.
const closing = 30 * time.Second

// Close leaves everything as it is or removes what is ours, as the settings say;
// before the first Set it leaves it in any case, for what another process put there
// goes on when this one could not start.
// What could not be removed stays remembered.
func (k *Kernel) Close() error {
	k.turn <- struct{}{}
	defer k.release()
	r, err := k.begin(nil)
	if err != nil {
		return nil // closed before, which is no mistake
	}
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	if r.settings.OnExit == OnExitRemove && r.started {
		ctx, cancel := context.WithTimeout(context.Background(), closing)
		defer cancel()
		err = r.leave(ctx)
	}
	return errors.Join(err, r.save())
}

// leave removes what is ours: services first, then what they needed.
func (r *round) leave(ctx context.Context) error {
	var errs []error
	for _, id := range slices.SortedFunc(maps.Keys(r.memory.services), compareIDs) {
		err := r.access.RemoveService(ctx, keyOf(id))
		if err == nil || isGone(err) {
			delete(r.memory.services, id)
			continue
		}
		errs = append(errs, &lvs.ServiceError{Virtual: r.nameOf(id), Err: err})
		if endsAll(err) {
			break
		}
	}
	for _, role := range slices.Sorted(maps.Keys(r.memory.daemons)) {
		if err := r.access.StopDaemon(ctx, role); err != nil && !isGone(err) {
			errs = append(errs, err)
			continue
		}
		delete(r.memory.daemons, role)
	}
	errs = append(errs, r.masqueradeOnly(ctx, nil))
	return errors.Join(append(errs, r.lower(nil)...)...)
}

// isGone tells that there is nothing to remove, of one thing or of all.
func isGone(err error) bool {
	return errors.Is(err, ipvs.ErrMissing) || errors.Is(err, ipvs.ErrNoKernel)
}

func (r *round) nameOf(id lvs.ServiceID) string {
	if k, ok := r.known[id]; ok && k.Name != "" {
		return k.Name
	}
	return id.String()
}
