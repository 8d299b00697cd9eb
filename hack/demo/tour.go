// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

const (
	production  = "production-server"
	staging     = "staging-environment"
	development = "zapier-integration"
)

func (t *tour) walk() error {
	if err := t.connect(); err != nil {
		return err
	}
	for _, chapter := range []struct {
		title string
		tell  func() error
	}{
		{"Three keys, applied", t.issue},
		{"Where the key is: a Secret, shown to those who may read it", t.lookAtSecret},
		{"What the verifier sees: a record that holds only a hash", t.lookAtRecord},
		{"A chatbot: its ID, and the snippet for web pages", t.lookAtChatbot},
		{"Vouch for a visitor with the HMAC secret", t.vouchForVisitor},
		{"When each was last used, as the verifier reports it", t.lookAtUses},
		{"Rotate, without touching spec: both revisions verify", t.rotateByAnnotation},
		{"The overlap ends", t.endOverlap},
		{"A consumer lags: the previous key stays valid until no client uses it", t.lag},
		{"Rotate through Git: the same manifest applied twice rotates once", t.rotateByApply},
		{"A user deletes the Secret", t.loseSecret},
		{"The key has leaked: revoke what was issued until now", t.compromise},
		{"Disable, enable", t.disable},
		{"Revoke for good", t.revoke},
		{"One set of rules per environment", t.keepToRules},
		{"The audit: unused keys go", t.audit},
		{"Delete", t.deleteKey},
		{"What is refused", t.refusals},
	} {
		t.title("%s", chapter.title)
		if err := chapter.tell(); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
	}
	return nil
}

func (t *tour) issue() error {
	for _, line := range []string{
		"create namespace " + namespace,
		"apply -k config/samples",
		"wait --for=condition=Ready dgkey --all -n support --timeout=30s",
		"get dgkey -n support",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	for _, name := range []string{production, staging, development} {
		text, err := t.plaintext(name)
		if err != nil {
			return err
		}
		if err := t.show(name, text, standing.Admitted); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) lookAtSecret() error {
	out, err := t.kubectl("describe secret dgbot-production -n support")
	if err != nil {
		return err
	}
	text, err := t.plaintext(production)
	if err != nil {
		return err
	}
	t.say("kubectl get secret dgbot-production -n support -o jsonpath='{.data.api-key}' | base64 -d  prints the key; the demo does not.")
	return t.expect(strings.HasPrefix(text, "dgbot_production_") && strings.Contains(out, "api-key:"), "the Secret holds no production key")
}

func (t *tour) lookAtRecord() error {
	if _, err := t.kubectl("get dgrec -n support"); err != nil {
		return err
	}
	record, err := t.publishedRecord(production)
	if err != nil {
		return err
	}
	out, err := t.kubectl("get dgrec " + record.Name + " -n support -o jsonpath='{.spec}'")
	if err != nil {
		return err
	}
	text, err := t.plaintext(production)
	if err != nil {
		return err
	}
	secretPart := text[strings.LastIndex(text, "_")+1:]
	if err := t.expect(strings.Contains(out, record.Spec.Hash), "the record has no hash"); err != nil {
		return err
	}
	everything, err := t.cluster.Kubectl(t.ctx, "get", "dgkey,dgrec,events", "-A", "-o", "json").Output()
	if err != nil {
		return err
	}
	return t.expect(json.Valid(everything) && !bytes.Contains(everything, []byte(secretPart)), "the key is outside of its Secret")
}

func (t *tour) lookAtUses() error {
	for _, line := range []string{
		"wait --for=jsonpath='{.status.lastUsedAt}' dgkey --all -n support --timeout=30s",
		"get dgkey -n support -o custom-columns=NAME:.metadata.name,ISSUED:.status.current.issuedAt,LAST-USED:.status.lastUsedAt",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	return nil
}

// publishedRecord returns the record of the key that is published.
func (t *tour) publishedRecord(name string) (*v1alpha1.DGbotAPIKeyRecord, error) {
	text, err := t.plaintext(name)
	if err != nil {
		return nil, err
	}
	_, record, err := t.verify(text)
	if err == nil && record == nil {
		err = fmt.Errorf("the key of %s has no record", name)
	}
	return record, err
}

func (t *tour) rotateByAnnotation() error {
	before, err := t.plaintext(development)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339)
	for _, line := range []string{
		"dgbot rotate zapier-integration -n support --dry-run",
		"annotate dgkey zapier-integration -n support keys.dgbot.io/rotate-requested-at=" + now,
		"wait --for=jsonpath='{.status.lastHandledRequest.rotateRequestedAt}'=" + now + " dgkey/zapier-integration -n support --timeout=30s",
		"get dgkey zapier-integration -n support -o wide",
		"get dgrec -n support --field-selector spec.environment=development",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	after, err := t.plaintext(development)
	if err != nil {
		return err
	}
	if err := t.expect(before != after, "the Secret still holds the old key"); err != nil {
		return err
	}
	if err := t.show("the new key", after, standing.Admitted); err != nil {
		return err
	}
	if err := t.show("the old key", before, standing.Admitted); err != nil {
		return err
	}
	t.previous = before
	return nil
}

func (t *tour) endOverlap() error {
	t.say("The sample's overlap is an hour; shortening it also shortens one that is running.")
	if _, err := t.kubectl(`patch dgkey zapier-integration -n support --type=merge -p '{"spec":{"rotation":{"overlap":"2s"}}}'`); err != nil {
		return err
	}
	err := t.eventually("the old key ends", 10*time.Second, func() (bool, error) {
		verdict, _, err := t.verify(t.previous)
		return verdict == standing.Ended, err
	})
	if err != nil {
		return err
	}
	if err := t.show("the old key", t.previous, standing.Ended); err != nil {
		return err
	}
	current, err := t.plaintext(development)
	if err != nil {
		return err
	}
	return t.show("the new key", current, standing.Admitted)
}

func (t *tour) rotateByApply() error {
	manifest := fmt.Sprintf(`apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: staging-environment, namespace: support}
spec:
  label: Staging environment
  environment: staging
  rotation:
    overlap: 1h
    requestedAt: "%s"
`, time.Now().UTC().Format(time.RFC3339))
	before, err := t.revisions(staging)
	if err != nil {
		return err
	}
	for range 2 {
		if err := t.apply(manifest); err != nil {
			return err
		}
		if _, err := t.kubectl("wait --for=condition=Ready dgkey/staging-environment -n support --timeout=30s"); err != nil {
			return err
		}
	}
	if _, err := t.kubectl("get dgrec -n support --field-selector spec.environment=staging"); err != nil {
		return err
	}
	after, err := t.revisions(staging)
	if err != nil {
		return err
	}
	return t.expect(after == before+1, "%d revisions before, %d after", before, after)
}
