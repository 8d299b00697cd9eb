// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

func (t *tour) lag() error {
	before, err := t.plaintext(development)
	if err != nil {
		return err
	}
	t.say("quietPeriod would be an hour or a day; here it is 3 s, and the verifier reports every 2 s.")
	if _, err := t.kubectl(`patch dgkey zapier-integration -n support --type=merge -p '{"spec":{"rotation":{"retire":"WhenUnused","quietPeriod":"3s","maxOverlap":"720h","requestedAt":"` +
		time.Now().UTC().Format(time.RFC3339) + `"}}}'`); err != nil {
		return err
	}
	if err := t.replaced(development, before); err != nil {
		return err
	}
	err = t.eventually("the consumer that lags is named", 20*time.Second, func() (bool, error) {
		if code, body, err := t.ask(before); err != nil || code != http.StatusOK {
			return false, fmt.Errorf("a key that is in use is answered with %d %s: %w", code, body, err)
		}
		key, err := t.key(development)
		if err != nil {
			return false, err
		}
		condition := apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.PreviousRevisionInUseCondition)
		return condition != nil && condition.Reason == v1alpha1.RecentlyUsedReason, nil
	})
	if err != nil {
		return err
	}
	if _, err := t.kubectl(`get dgkey zapier-integration -n support -o jsonpath='{.status.conditions[?(@.type=="PreviousRevisionInUse")].message}'`); err != nil {
		return err
	}
	if err := t.show("the old key, beyond its overlap of 2 s,", before, standing.Admitted); err != nil {
		return err
	}
	t.say("The consumer has moved on: no client uses the previous key any more.")
	err = t.eventually("the old key ends", 40*time.Second, func() (bool, error) {
		verdict, _, err := t.verify(before)
		return verdict == standing.Ended, err
	})
	if err != nil {
		return err
	}
	return t.show("the old key", before, standing.Ended)
}
