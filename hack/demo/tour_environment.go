// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// careless breaks two rules of the sample environment production.
const careless = `apiVersion: keys.dgbot.io/v1alpha1
kind: DGbotAPIKey
metadata: {name: careless, namespace: support}
spec: {label: Careless, environment: production, scopes: ["*"], rotation: {interval: 8760h}}
`

func (t *tour) keepToRules() error {
	if _, err := t.kubectl("get dgenv"); err != nil {
		return err
	}
	t.say("A manifest that breaks two of production's rules is taken, and nothing is issued for it:")
	if err := t.apply(careless); err != nil {
		return err
	}
	if _, err := t.kubectl(`wait --for=jsonpath='{.status.conditions[?(@.type=="Stalled")].reason}'=EnvironmentPolicy dgkey/careless -n support --timeout=30s`); err != nil {
		return err
	}
	message, err := t.kubectl(`get dgkey careless -n support -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}'`)
	if err != nil {
		return err
	}
	revisions, err := t.revisions("careless")
	if err != nil {
		return err
	}
	for _, want := range []string{`"*"`, "8760h", "2160h"} {
		if err := t.expect(revisions == 0 && strings.Contains(message, want), "the message does not name %s, or something was issued", want); err != nil {
			return err
		}
	}
	t.say("One that keeps to them is issued at once:")
	if err := t.apply(strings.NewReplacer(`"*"`, "conversations.read", "8760h", "720h").Replace(careless)); err != nil {
		return err
	}
	if _, err := t.kubectl("wait --for=condition=Ready dgkey/careless -n support --timeout=30s"); err != nil {
		return err
	}
	t.say("A rule that comes later takes nothing away from a key that has been issued:")
	for _, line := range []string{
		`patch dgenv production --type=merge -p '{"spec":{"rotation":{"maxInterval":"480h","defaultInterval":"480h"}}}'`,
		`wait --for=condition=PolicyViolation dgkey/careless -n support --timeout=30s`,
		`get dgkey careless -n support -o jsonpath='{.status.conditions[?(@.type=="PolicyViolation")].message}'`,
		`get dgkey -n support`,
	} {
		if _, err := t.kubectl(line); err != nil {
			return err
		}
	}
	key, err := t.key("careless")
	if err != nil {
		return err
	}
	next := key.Status.NextRotationAt
	return t.expect(next != nil && next.Sub(key.CreationTimestamp.Time).Hours() < 480+7*24 && key.Spec.Rotation.Interval.Hours() == 720,
		"the next rotation is at %s, with an interval of %s in spec", next, key.Spec.Rotation.Interval.Duration)
}
