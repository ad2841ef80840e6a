package heartbeat

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever can send a packet can write any address on it, and call from any port: what is
// said about that must not fill the log.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	for name, complain := range map[string]func(*teller, int){
		"from ever other addresses": func(l *teller, i int) {
			l.accuse(fmt.Sprint("malformed ", i), Warn, "refused a packet from %d", i)
		},
		"from ever other ports": func(l *teller, i int) {
			_, _ = fmt.Fprintf(l, "[ERR] memberlist: failed to receive: EOF from=192.0.2.1:%d\n", i)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told, omitted := 0, 0
				l := newTeller(func(_ Level, text string) {
					if strings.HasSuffix(text, "log lines were left out") {
						omitted++
						return
					}
					told++
				})
				for i := range 20 * mostAccused { // in 20 s
					complain(l, i)
					time.Sleep(time.Second / mostAccused)
				}
				synctest.Wait()
				if told == 0 || told > 2*mostAccused+1 {
					t.Errorf("%d lines in 20 s, want some, and %d at most in 10 s", told, mostAccused)
				}
				before := told
				l.complain("share dr2", Warn, "what is of use")
				synctest.Wait()
				if told != before+1 {
					t.Errorf("%d lines about a node meanwhile, want 1", told-before)
				}
				time.Sleep(tellAgain)
				complain(l, -1)
				synctest.Wait()
				if told != before+2 {
					t.Errorf("%d lines later, want 1", told-before-1)
				}
				if told > mostAccused && omitted == 0 {
					t.Error("nobody says that lines are left out")
				}
				l.close()
			})
		})
	}
}
