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
)

const messagesHead = `# Messages of conditions and events

The messages that the policy writes: what failed, why, and what to do. Look here for the text that ` + "`kubectl describe`" + ` shows. What differs from object to object is
replaced:

| in this page | stands for |
|---|---|
| ` + "`N`" + ` | a number |
| ` + "`\"…\"`" + ` | a name, a scope, or a command |
| ` + "`TIME`, `DURATION`" + ` | a time such as ` + "`2027-01-12T09:30:00Z`" + `, a duration such as ` + "`24h0m0s`" + ` |
| ` + "`CAUSE`" + ` | a [cause](glossary.md#the-life-of-a-key), such as ` + "`Schedule`" + ` |
| ` + "`FIELD`" + ` | a field or an annotation that holds a request, such as ` + "`spec.rotation.requestedAt`" + ` |
| ` + "`…`" + ` without quotes | an ID, a label selector, or a list |
| ` + "`forbidden`" + ` | the API server's answer to a read |

Many messages are put together from parts, for example one part for each rule that a key violates. The page shows each part in a message with few parts, and not every combination.
Where the API server rejects a write (` + "`SecretWriteRefused`, `RecordWriteRefused`, `ConfigMapWriteRefused`, `CopyWriteRefused`, `RecordConflict`" + `), the message
quotes the answer, and is not listed. The message of ` + "`ImportRefused`" + ` names one of [several causes](chatbots.md#when-it-is-not-ready), and one is listed.

This page is generated (` + "`go test ./internal/lifecycle -run Messages -messages.update`" + `): review a change of a message here.
`

// messageForms are the messages of a reason: what has it, and the forms of its message.
type messageForms struct{ holders, forms map[string]bool }

// TestMessages_AreReviewedInOneList compares the messages that the policy writes about seeded observations with the page. The drawn status
// of an object has the reason Before, and drawn answers of the API server are short texts that no user reads: both are left out.
func TestMessages_AreReviewedInOneList(t *testing.T) {
	seen := map[string]*messageForms{}
	for _, subject := range subjects {
		for seed := range int64(5) {
			out := &transcript{limit: drawnObservations}
			subject(rand.New(rand.NewSource(seed)), out)
			collectMessages(seen, out.text.String())
		}
	}
	var list strings.Builder
	list.WriteString(messagesHead)
	for _, reason := range slices.Sorted(maps.Keys(seen)) {
		_, _ = fmt.Fprintf(&list, "\n## %s\n\n%s:\n\n", reason, strings.Join(slices.Sorted(maps.Keys(seen[reason].holders)), ", "))
		for _, form := range seen[reason].covering() {
			_, _ = fmt.Fprintf(&list, "- %s\n", form)
		}
	}
	page := list.String()
	if strings.Contains(page, "%!") || strings.Contains(page, "()") {
		t.Error("a message lacks its text, or a value: the page has %! or ()")
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

// parts separates the parts of a message.
var parts = regexp.MustCompile(`[.:;,] `)

// covering returns forms that together have every part of every form, those with few parts first.
func (m *messageForms) covering() []string {
	shown, seen := []string{}, map[string]bool{}
	all := slices.SortedFunc(maps.Keys(m.forms), func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, form := range all {
		isNew := false
		for _, part := range parts.Split(form, -1) {
			isNew = isNew || !seen[part]
			seen[part] = true
		}
		if isNew {
			shown = append(shown, form)
		}
	}
	slices.Sort(shown)
	return shown
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
		{regexp.MustCompile(`(dgbot-verifier-N(, )?)+`), "…"},
		{regexp.MustCompile(`RFC @`), "RFC 3339"},
		{regexp.MustCompile(`\("…"( "…")+\)|\["…"( "…")+\]`), `["…"]`},
		{regexp.MustCompile(`\((FirstIssue|Schedule|Request|Revocation|SecretLost|SecretAltered|RecordLost|Reactivation|ExpiryChanged)\)`), "(CAUSE)"},
		{regexp.MustCompile(`\(existing: [^)]*\)|\(there is no DGbotEnvironment yet\)`), "(existing: …)"},
		{regexp.MustCompile(`(namespaceSelector) \([^")]*\)`), "$1 (…)"},
		{regexp.MustCompile(`revisions now: [^.]*`), "revisions now: …"},
		{regexp.MustCompile(`(spec\.[A-Za-z.]*rotation\.|spec\.rotation\.)(requestedAt|revokeIssuedBefore)|annotation keys\.dgbot\.io/r[a-z-]+`), "FIELD"},
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
		isCut := strings.HasSuffix(message, "…")
		if !is || isCut || reason == "" || answered.MatchString(reason) || message == "before" {
			reason = ""
			continue
		}
		for _, part := range variable {
			message = part.expression.ReplaceAllString(message, part.stand)
		}
		if seen[reason] == nil {
			seen[reason] = &messageForms{holders: map[string]bool{}, forms: map[string]bool{}}
		}
		seen[reason].holders[holder] = true
		seen[reason].forms[message] = true
		reason = ""
	}
}
