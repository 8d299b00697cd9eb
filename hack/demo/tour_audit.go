// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// forgotten are two unused keys, in an environment whose audit takes seconds. One of them is exempt.
const forgotten = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotEnvironment
metadata: {name: trial}
spec:
  audit:
    unusedAfter: 1s      # in earnest: 90 days
    disableAfter: 5s     # 120 days
    revokeAfter: 10s     # 180 days
    exemptions:
    - {namespace: support, name: year-end-report, reason: Runs in January, until: "%s"}
---
apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: forgotten, namespace: support}
spec: {label: An experiment, environment: trial}
---
apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: year-end-report, namespace: support}
spec: {label: Year-end report, environment: trial}
`

func (t *tour) audit() error {
	t.say("An audit finds unused keys: it warns, disables, and revokes. Here it takes seconds.")
	if err := t.apply(fmt.Sprintf(forgotten, time.Now().AddDate(0, 2, 0).UTC().Format(time.RFC3339))); err != nil {
		return err
	}
	if _, err := t.kubectl("wait --for=condition=Ready dgkey/forgotten dgkey/year-end-report -n support --timeout=30s"); err != nil {
		return err
	}
	text, err := t.plaintext("forgotten")
	if err != nil {
		return err
	}
	if err := t.reach(v1alpha1.NotUsedReason); err != nil {
		return err
	}
	t.say("A warning; the key verifies. No verifier is asked about it now, because that would be a use.")
	if err := t.reach(v1alpha1.DisabledByAuditReason); err != nil {
		return err
	}
	if err := t.show("the key", text, standing.Disabled); err != nil {
		return err
	}
	t.say("A team needs it after all:")
	if err := t.keep("forgotten"); err != nil {
		return err
	}
	if err := t.curl(text, true); err != nil {
		return err
	}
	t.say("Then no team does any more:")
	if err := t.reach(v1alpha1.RevokedByAuditReason); err != nil {
		return err
	}
	if err := t.show("the key", text, standing.Revoked); err != nil {
		return err
	}
	for _, line := range []string{
		"get dgkey -n support -o custom-columns=NAME:.metadata.name,STAGE:.status.audit.stage,SINCE:.status.audit.unusedSince",
		"events -n support --for dgbotapikey/forgotten --types=Warning",
		"dgbot audit -n support",
		"dgbot audit -n support --html bin/audit.html",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	summary := ""
	err = t.eventually("the environment sums it up", 15*time.Second, func() (bool, error) {
		out, err := t.cluster.Kubectl(t.ctx, "get", "dgenv", "trial", "-o", "jsonpath={.status.audit}").Output()
		summary = string(out)
		return strings.Contains(summary, `"revoked":1`) && strings.Contains(summary, `"exempt":1`), err
	})
	t.say("$ kubectl get dgenv trial -o jsonpath='{.status.audit}'\n  %s", summary)
	if err != nil {
		return err
	}
	exempt, err := t.key("year-end-report")
	if err != nil {
		return err
	}
	return t.expect(exempt.Status.Audit == nil && exempt.Status.Current != nil, "the key that is exempt is at %+v", exempt.Status.Audit)
}

// reach waits until the audit has come to a stage with the forgotten key, and shows what the key says of it.
func (t *tour) reach(reason string) error {
	for _, line := range []string{
		`wait --for=jsonpath='{.status.conditions[?(@.type=="Unused")].reason}'=` + reason + ` dgkey/forgotten -n support --timeout=60s`,
		`get dgkey forgotten -n support -o jsonpath='{.status.conditions[?(@.type=="Unused")].message}'`,
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	return nil
}

// keep decides that a key stays.
func (t *tour) keep(name string) error {
	for _, line := range []string{
		"annotate dgkey " + name + " -n support keys.dgbot.io/kept-at=" + time.Now().UTC().Format(time.RFC3339),
		"wait --for=condition=Ready dgkey/" + name + " -n support --timeout=30s",
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	return nil
}
