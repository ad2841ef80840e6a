package exec

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/monitord/monitord/internal/monprog"
	"github.com/monitord/monitord/monitors"
)

// reasonLength is the longest reason, in characters: it stands in tables and in
// the subjects of mails.
const reasonLength = 200

// verdicts reads mon's convention: on success all hosts are up, on failure those
// named in the summary are down and the rest are up. A summary that names none
// is the reason of an only host, and leaves a group without single verdicts.
func verdicts(hosts []string, exit int, output []byte) monitors.Result {
	result := monitors.Result{Exit: exit, Output: output}
	down := map[string]bool{}
	if exit != 0 {
		down = named(hosts, summary(output))
	}
	if exit != 0 && len(down) == 0 {
		if len(hosts) == 1 {
			result.Hosts = []monitors.HostResult{{Host: hosts[0], Verdict: monitors.Down, Reason: soleReason(exit, output)}}
		}
		return result
	}
	why := reasons(down, exit, output)
	for _, h := range hosts {
		r := monitors.HostResult{Host: h, Verdict: monitors.Up}
		if down[h] {
			r.Verdict, r.Reason = monitors.Down, why[h]
		}
		result.Hosts = append(result.Hosts, r)
	}
	return result
}

func summary(output []byte) string {
	first, _, _ := bytes.Cut(output, []byte("\n"))
	return string(first)
}

// named returns which of the hosts are words of the summary. Whole words count,
// exactly as the host is written in the request ("web1" is not "web1:80"); a
// comma, colon or semicolon behind the word is not part of it.
func named(hosts []string, summary string) map[string]bool {
	wanted := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		wanted[h] = true
	}
	found := map[string]bool{}
	for word := range strings.FieldsSeq(summary) {
		for _, w := range []string{word, unpunctuated(word)} {
			if wanted[w] {
				found[w] = true
			}
		}
	}
	return found
}

func unpunctuated(word string) string { return strings.TrimRight(word, ",;:") }

// reasons takes, for each host that is down, the first line of the detail that
// begins with it, or with one word and it ("HOST web1: refused").
func reasons(down map[string]bool, exit int, output []byte) map[string]string {
	found := make(map[string]string, len(down))
	if len(down) == 0 {
		return found
	}
	_, detail, _ := bytes.Cut(output, []byte("\n"))
	for line := range bytes.Lines(detail) {
		host, rest := subject(down, string(line))
		if text := oneLine(rest); host != "" && found[host] == "" && text != "" {
			found[host] = text
		}
	}
	for host := range down {
		if found[host] == "" {
			found[host] = fmt.Sprintf("named by the monitor, exit status %d", exit)
		}
	}
	return found
}

// subject splits a line after the host that it is about.
func subject(down map[string]bool, line string) (host, rest string) {
	rest = line
	for range 2 {
		rest = strings.TrimLeft(rest, " \t")
		end := strings.IndexAny(rest, " \t\r\n")
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		rest = rest[end:]
		for _, w := range []string{word, unpunctuated(word)} {
			if down[w] {
				return w, strings.TrimLeft(rest, " \t:-")
			}
		}
	}
	return "", ""
}

// soleReason is why a group's only host is down: the summary.
func soleReason(exit int, output []byte) string {
	if text := oneLine(summary(output)); text != "" {
		return text
	}
	return fmt.Sprintf("exit status %d without a summary", exit)
}

func oneLine(text string) string { return monprog.Line(text, reasonLength) }
