package nft

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/monitord/monitord/internal/kernellab"
)

// runNFT runs Debian's nft on the host that the test's thread is on.
func runNFT(t *testing.T, stdin string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "nft", arguments...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// TestListedByNFT: the operator's tools see all tables, ours among them. Debian
// 12's nft aborts at "ct original daddr" in a set's key. What it lists can be
// loaded again, as those do who save the ruleset over a reboot, and is ours then.
func TestListedByNFT(t *testing.T) {
	kernellab.Tools(t)
	tests := map[string][]Rule{"every form": everyForm()}
	for _, r := range everyForm() {
		tests[r.String()] = []Rule{r}
	}
	for name, rules := range tests {
		t.Run(name, func(t *testing.T) {
			slices.SortFunc(rules, less)
			onHost(t, func(t *testing.T) {
				mustSet(t, rules...)
				for line := range strings.Lines(runNFT(t, "", "list", "tables")) {
					runNFT(t, "", append([]string{"list"}, strings.Fields(line)...)...)
				}
				runNFT(t, "", "--json", "list", "ruleset")
				listed := runNFT(t, "", "list", "ruleset")
				for _, r := range rules {
					if !strings.Contains(listed, r.Real.Addr().String()) || r.Mark == 0 && !strings.Contains(listed, r.Virtual.Addr().String()) {
						t.Errorf("%s is not in the list\n%s", r, listed)
					}
				}
				runNFT(t, "flush ruleset\n"+listed, "--file", "-")
				sameRules(t, mustRules(t), rules)
				if again := runNFT(t, "", "list", "ruleset"); again != listed {
					t.Errorf("loaded again it is\n%s\nnot\n%s", again, listed)
				}
				if n := changes(t, func() { mustSet(t, rules...) }); n != 0 {
					t.Errorf("what was loaded again took %d steps to mend, want none", n)
				}
			})
		})
	}
}
