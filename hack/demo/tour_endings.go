// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv/process"
)

func (t *tour) loseSecret() error {
	before, err := t.plaintext(production)
	if err != nil {
		return err
	}
	if _, err := t.kubectl("delete secret dgbot-production -n support"); err != nil {
		return err
	}
	if err := t.replaced(production, before); err != nil {
		return err
	}
	if _, err := t.kubectl("get dgkey production-server -n support -o wide"); err != nil {
		return err
	}
	if err := t.show("the lost key, wherever it is in use,", before, standing.Admitted); err != nil {
		return err
	}
	return t.eventually("a Warning event tells of it", 10*time.Second, func() (bool, error) {
		out, err := t.cluster.Kubectl(t.ctx, "events", "-n", namespace, "--for", "dgbotapikey/"+production, "--types=Warning").CombinedOutput()
		if strings.Contains(string(out), "SecretLost") {
			t.say("$ kubectl events -n support --for dgbotapikey/%s --types=Warning", production)
			for line := range strings.Lines(string(out)) {
				t.say("  %s", strings.TrimSpace(line))
			}
			return true, nil
		}
		return false, err
	})
}

// replaced waits until the Secret holds another key that verifies.
func (t *tour) replaced(name, before string) error {
	return t.eventually("a new key is published", 15*time.Second, func() (bool, error) {
		text, err := t.plaintext(name)
		if err != nil || text == before {
			return false, err
		}
		verdict, _, err := t.verify(text)
		return verdict == standing.Admitted, err
	})
}

func (t *tour) compromise() error {
	leaked, err := t.plaintext(production)
	if err != nil {
		return err
	}
	folder, err := process.TempDir("demo")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if err := os.WriteFile(filepath.Join(folder, "settings.env"), []byte("PORT=8080\nDGBOT_API_KEY="+leaked+"\n"), 0o600); err != nil {
		return err
	}
	t.say("A developer has committed settings.env:")
	if err := t.refused("dgbot scan "+folder, "", "Live"); err != nil {
		return err
	}
	t.say("The key itself says which one it is:")
	if err := t.withInput("dgbot compromise - --yes --wait", leaked); err != nil {
		return err
	}
	if _, err := t.kubectl("dgbot describe production-server -n support"); err != nil {
		return err
	}
	if err := t.show("the leaked key", leaked, standing.Revoked); err != nil {
		return err
	}
	if err := t.replaced(production, leaked); err != nil {
		return err
	}
	t.say("What is left in the file opens nothing:")
	_, err = t.kubectl("dgbot scan --ignore-dead " + folder)
	return err
}

func (t *tour) disable() error {
	text, err := t.plaintext(staging)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		state, condition string
		verdict          standing.Verdict
	}{
		{"Disabled", "Ready=False", standing.Disabled},
		{"Active", "Ready", standing.Admitted},
	} {
		if _, err := t.kubectl(fmt.Sprintf(`patch dgkey staging-environment -n support --type=merge -p '{"spec":{"state":"%s"}}'`, step.state)); err != nil {
			return err
		}
		if _, err := t.kubectl("wait --for=condition=" + step.condition + " dgkey/staging-environment -n support --timeout=30s"); err != nil {
			return err
		}
		if err := t.show("the key", text, step.verdict); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) revoke() error {
	text, err := t.plaintext(staging)
	if err != nil {
		return err
	}
	for _, line := range []string{
		`patch dgkey staging-environment -n support --type=merge -p '{"spec":{"state":"Revoked"}}'`,
		"wait --for=condition=Ready=False dgkey/staging-environment -n support --timeout=30s",
		"get dgkey -n support -o wide",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	return t.show("the key", text, standing.Revoked)
}

func (t *tour) deleteKey() error {
	text, err := t.plaintext(development)
	if err != nil {
		return err
	}
	if _, err := t.kubectl("delete dgkey zapier-integration -n support"); err != nil {
		return err
	}
	err = t.eventually("records and Secret are gone", 15*time.Second, func() (bool, error) {
		n, err := t.revisions(development)
		if err != nil || n > 0 {
			return false, err
		}
		out, err := t.cluster.Kubectl(t.ctx, "get", "secret", development, "-n", namespace).CombinedOutput()
		return err != nil && strings.Contains(string(out), "NotFound"), nil
	})
	if err != nil {
		return err
	}
	if _, err := t.key(development); !apierrors.IsNotFound(err) {
		return fmt.Errorf("the key is still there: %w", err)
	}
	t.say("Its records and its Secret are gone with it.")
	return t.show("the key", text, "Unknown")
}

const badKey = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: bad, namespace: support}
spec:
  label: "%s"
  environment: production
  rotation: {interval: %s, overlap: %s}
`

func (t *tour) refusals() error {
	for _, bad := range []struct{ say, manifest, want string }{
		{"a blank label", fmt.Sprintf(badKey, " ", "2160h", "24h"), "label must not be blank"},
		{"days", fmt.Sprintf(badKey, "CRM", "90d", "24h"), "2160h is 90 days"},
		{"an overlap longer than the interval", fmt.Sprintf(badKey, "CRM", "1h", "24h"), "overlap must be less than interval"},
	} {
		t.say("%s:", bad.say)
		if err := t.refused("apply -f -", bad.manifest, bad.want); err != nil {
			return err
		}
	}
	t.say("another environment for a key that exists:")
	if err := t.refused(`patch dgkey production-server -n support --type=merge -p '{"spec":{"environment":"staging"}}'`, "", "environment is immutable"); err != nil {
		return err
	}
	t.say("a production key by a user who may edit keys, but not use production:")
	if err := t.grantAlice(); err != nil {
		return err
	}
	good := fmt.Sprintf(badKey, "CRM", "2160h", "24h")
	if err := t.refused("apply -f - --as=alice", good, "dgbotenvironments"); err != nil {
		return err
	}
	t.say("a record written by hand, which would mint a key:")
	record, err := t.publishedRecord(production)
	if err != nil {
		return err
	}
	return t.refused(`patch dgrec `+record.Name+` -n support --as=alice --type=merge -p '{"spec":{"scopes":["*"]}}'`, "", "minting")
}

// grantAlice lets alice do everything with keys and records in the namespace, as far as RBAC goes.
func (t *tour) grantAlice() error {
	for _, args := range [][]string{
		{"create", "role", "keys", "-n", namespace, "--verb=*", "--resource=dgbotapikeys.keys.dgbot.io,dgbotapikeyrecords.keys.dgbot.io"},
		{"create", "rolebinding", "keys", "-n", namespace, "--role=keys", "--user=alice"},
	} {
		if out, err := t.cluster.Kubectl(t.ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}
