package http

import (
	"fmt"
	"strconv"
	"strings"
)

// A statusSet is a set of status codes, written like "2xx-3xx" or "200-399,401".
type statusSet []statusRange

type statusRange struct{ first, last int }

// parseStatus reads ranges separated by commas. Each end is a code from 100 to
// 599 or a class from 1xx to 5xx.
func parseStatus(text string) (statusSet, error) {
	var set statusSet
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		r, err := parseCodes(from)
		if err != nil {
			return nil, err
		}
		if isRange {
			end, err := parseCodes(to)
			if err != nil {
				return nil, err
			}
			r.last = end.last
		}
		if r.last < r.first {
			return nil, fmt.Errorf("%q ends before it begins", part)
		}
		set = append(set, r)
	}
	return set, nil
}

// parseCodes reads one code, or a class of codes.
func parseCodes(text string) (statusRange, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if len(text) == 3 {
		if class, ok := strings.CutSuffix(text, "xx"); ok && class >= "1" && class <= "5" {
			n := int(class[0]-'0') * 100
			return statusRange{n, n + 99}, nil
		}
		if n, err := strconv.Atoi(text); err == nil && n >= 100 && n <= 599 {
			return statusRange{n, n}, nil
		}
	}
	return statusRange{}, fmt.Errorf(`%q is no HTTP status: write codes and classes, like "200", "2xx", "2xx-3xx" or "200-399,401"`, text)
}

func (s statusSet) contains(code int) bool {
	for _, r := range s {
		if code >= r.first && code <= r.last {
			return true
		}
	}
	return false
}
