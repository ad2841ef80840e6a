package ping

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/monitord/monitord/internal/icmp"
	"github.com/monitord/monitord/monitors"
)

// limits are what makes a host down.
type limits struct {
	loss float64       // percent: down at this loss or above
	rtt  time.Duration // down above this average; 0 is no limit
}

// parseLoss reads "66%" or "33.3%".
func parseLoss(text string) (float64, error) {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !isPercent || err != nil || !(percent > 0 && percent <= 100) {
		return 0, monitors.BadKey("loss", `%q is no share of the pings: write a percentage above "0%%", up to "100%%"`, text)
	}
	return percent, nil
}

// judge returns the verdict on a host that was to get count pings. Those that
// were not sent, or not waited for to the end, may have gone either way: only a
// verdict that they cannot change is one.
func (l limits) judge(count int, s icmp.Stats) (monitors.Verdict, string) {
	undecided := count - s.Received - s.Lost
	switch {
	case l.tooMany(s.Lost, count):
		return monitors.Down, l.lossReason(count, s)
	case undecided > 0 && (l.rtt > 0 || l.tooMany(s.Lost+undecided, count)):
		return monitors.Unknown, untested(s)
	case l.rtt > 0 && s.Avg > l.rtt:
		return monitors.Down, fmt.Sprintf("average round trip %s, limit %s", above(s.Avg, l.rtt), l.rtt)
	}
	return monitors.Up, ""
}

func (l limits) tooMany(lost, count int) bool { return float64(lost)*100 >= l.loss*float64(count) }

func (l limits) lossReason(count int, s icmp.Stats) string {
	reason := fmt.Sprintf("%d of %d pings lost", s.Lost, count)
	if s.Lost < count {
		reason += ", limit " + strconv.FormatFloat(l.loss, 'f', -1, 64) + "%"
	}
	if s.Refusal != "" {
		reason += ": " + s.Refusal
	}
	return reason
}

func untested(s icmp.Stats) string {
	if s.Err != nil {
		return strings.Join(strings.Fields(s.Err.Error()), " ")
	}
	return "not finished before the run's deadline"
}

// above rounds a round trip to what is worth reading, but not down to its limit.
func above(rtt, limit time.Duration) time.Duration {
	if rounded := rtt.Round(100 * time.Microsecond); rounded > limit {
		return rounded
	}
	return rtt
}
