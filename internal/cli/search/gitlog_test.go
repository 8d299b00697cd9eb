// SPDX-License-Identifier: Apache-2.0

package search

import (
	"strings"
	"testing"
)

// TestGitLog_HeedsOnlyHeaders, and no line of a message or a file that looks like one.
func TestGitLog_HeedsOnlyHeaders(t *testing.T) {
	const one, two = "0123456789012345678901234567890123456789", "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
	diff := func(margin string) string {
		lines := []string{"diff --git a/app b/app", "index 1234567..89abcde 100644", "--- a/app", "+++ b/app", "@@ -1,3 +1,4 @@", " * added commit " + two, " commit " + two, " diff --git a/x b/x", "+" + two + " x", "-" + two, "+KEY"}
		return margin + strings.Join(lines, "\n"+margin) + "\n"
	}
	for name, tc := range map[string]struct{ text, commit, file string }{
		"full":           {"commit " + one + "\n\n    commit " + two + "\n\n" + diff(""), one, "app"},
		"left side":      {"commit < " + one + "\n\n" + diff(""), one, "app"},
		"boundary":       {"commit - " + one + "\n\n" + diff(""), one, "app"},
		"one line":       {one[:7] + " add it\n" + diff(""), one[:7], "app"},
		"one line, left": {"< " + one[:7] + " add it\n" + diff(""), one[:7], "app"},
		"graph":          {"* commit " + one + "\n| \n|     commit " + two + "\n| \n" + diff("| "), one, "app"},
		"graph, merge":   {"*   commit " + one + "\n|\\  Merge: 1 2\n| | \n" + diff("| | "), one, "app"},
		"graph, second":  {"* commit " + two + "\n| \n| * commit " + one + "\n| | \n" + diff("| | "), one, "app"},
		"graph, octopus": {"*---.   " + one[:7] + " merge\n|\\ \\ \\  \n" + diff("| | | | "), one[:7], "app"},
		"a diff":         {diff(""), "", "app"},
		"no diff":        {"added words\nand more\n", "", ""},
		"prose":          {"commit to it\n" + diff(""), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			log := newGitLog([]byte(tc.text))
			if log == nil {
				log = &gitLog{}
			} else {
				log.follow([]byte(tc.text))
			}
			if log.commit != tc.commit || log.file != tc.file {
				t.Errorf("commit %q, file %q", log.commit, log.file)
			}
		})
	}
}
