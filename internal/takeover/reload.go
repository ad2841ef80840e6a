package takeover

// Reloaded says that the rest of the configuration is another one: its digest, which
// the others compare, and perhaps what resources stand for, which are looked at now.
func (l *Loop) Reloaded(digest string) {
	l.queue.call(func() {
		l.o.Director.Digest = digest // the machine gets its configuration with each step
		for _, w := range l.works {
			w.lookNow()
		}
	})
}

// lookNow has what runs looked at, and started again if it does not, without waiting
// for its turn.
func (w *works) lookNow() {
	select {
	case w.soon <- struct{}{}:
	default:
	}
}
