// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var messagesUpdate = flag.Bool("messages.update", false, "write docs/messages.md anew")

// subjects are the kinds that the policy decides about.
var subjects = []func(*rand.Rand, *transcript){generateKeys, generateChatbots, generateEnvironments}

const (
	// drawnObservations is how many observations of a kind are drawn from one seed.
	drawnObservations = 1000
	messagesPage      = "../../docs/messages.md"
	// mostForms is how many messages the page shows for a reason: those that are seen most often.
	mostForms = 4
)

const messagesHead = `# Messages of conditions and events

The messages that the policy writes, as one list: what failed, why, and what to do. Look here for the text that ` + "`kubectl describe`" + ` shows. In it, ` + "`N`" + ` stands for a
number, ` + "`\"…\"`" + ` for a name, and ` + "`TIME`" + ` for a time. A reason with more than four messages shows the four that are most frequent. Where the API server rejects a write
(` + "`SecretWriteRefused`, `RecordWriteRefused`, `ConfigMapWriteRefused`, `CopyWriteRefused`, `RecordConflict`" + `), the message quotes the answer, and is not listed.

This page is generated (` + "`go test ./internal/lifecycle -run Messages -messages.update`" + `): review a change of a message here.
`

// messageForms are the messages of a reason: what has it, and how often each form of the message is seen.
type messageForms struct {
	holders map[string]bool
	forms   map[string]int
}

// TestMessages_AreReviewedInOneList compares the messages that the policy writes about seeded observations with the page. The drawn status
// of an object has the reason Before, and drawn answers of the API server are short texts that no user reads: both are left out.
func TestMessages_AreReviewedInOneList(t *testing.T) {
	seen := map[string]*messageForms{}
	for _, subject := range subjects {
		for seed := range int64(4) {
			out := &transcript{limit: drawnObservations}
			subject(rand.New(rand.NewSource(seed)), out)
			collectMessages(seen, out.text.String())
		}
	}
	var list strings.Builder
	list.WriteString(messagesHead)
	for _, reason := range slices.Sorted(maps.Keys(seen)) {
		_, _ = fmt.Fprintf(&list, "\n## %s\n\n%s:\n\n", reason, strings.Join(slices.Sorted(maps.Keys(seen[reason].holders)), ", "))
		for _, form := range seen[reason].mostFrequent() {
			_, _ = fmt.Fprintf(&list, "- %s\n", form)
		}
	}
	page := list.String()
	if strings.Contains(page, "%!") {
		t.Error("a message lacks its text, or a value: fmt has written %! into it")
	}
	if *messagesUpdate {
		if err := os.WriteFile(messagesPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(messagesPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != page {
		t.Error("docs/messages.md is not what the policy writes: run this test with -messages.update, and review the difference")
	}
}

func (m *messageForms) mostFrequent() []string {
	all := slices.SortedFunc(maps.Keys(m.forms), func(a, b string) int { return cmp.Or(cmp.Compare(m.forms[b], m.forms[a]), cmp.Compare(a, b)) })
	all = all[:min(mostForms, len(all))]
	slices.Sort(all)
	return all
}

var (
	conditionFact = regexp.MustCompile(`^condition (\S+)=(\S+) (\S+) `)
	eventFact     = regexp.MustCompile(`^event warning=\S+ (\S+) `)
	answered      = regexp.MustCompile(`(WriteRefused|RecordConflict|Before)$`)
	// parts of messages that differ from object to object, and what the page has in their place.
	variable = []struct {
		expression *regexp.Regexp
		stand      string
	}{
		{regexp.MustCompile(`"[^"]*"`), `"…"`},
		{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`), "TIME"},
		{regexp.MustCompile(`RFC [0-9]+`), "RFC @"},
		{regexp.MustCompile(`key ID [^,;) ]+`), "key ID …"},
		{regexp.MustCompile(`\(kid\) [^,;) ]+`), "(kid) …"},
		{regexp.MustCompile(`\b([0-9]+h)?([0-9]+m)?[0-9]+(\.[0-9]+)?s\b`), "DURATION"},
		{regexp.MustCompile(`\b[0-9]+\b`), "N"},
		{regexp.MustCompile(`RFC @`), "RFC 3339"},
	}
)

// collectMessages adds the messages of a transcript.
func collectMessages(seen map[string]*messageForms, transcript string) {
	reason, holder := "", ""
	for line := range strings.Lines(transcript) {
		line = strings.TrimSuffix(line, "\n")
		if fact := conditionFact.FindStringSubmatch(line); fact != nil {
			reason, holder = fact[3], fact[1]+"="+fact[2]
			continue
		}
		if fact := eventFact.FindStringSubmatch(line); fact != nil {
			reason, holder = fact[1], "an event"
			continue
		}
		message, is := strings.CutPrefix(line, "  message ")
		if !is || reason == "" || answered.MatchString(reason) || message == "before" {
			reason = ""
			continue
		}
		for _, part := range variable {
			message = part.expression.ReplaceAllString(message, part.stand)
		}
		if seen[reason] == nil {
			seen[reason] = &messageForms{holders: map[string]bool{}, forms: map[string]int{}}
		}
		seen[reason].holders[holder] = true
		seen[reason].forms[message]++
		reason = ""
	}
}
