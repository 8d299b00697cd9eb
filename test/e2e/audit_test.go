// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

func TestAnUnchangedWorldCausesNoRequests(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	for i := range 10 {
		p.CreateKey(fmt.Sprintf("key-%d", i), nil)
	}
	p.applyBot("bot", "")
	p.bot("bot", v1alpha1.PublishedReason)
	p.healHMACSecret("bot")
	p.CreateKey("of-a-chatbot", func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"} })
	p.AwaitReady("of-a-chatbot")
	p.CreateKey("disabled", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	for i := range 10 {
		p.AwaitReady(fmt.Sprintf("key-%d", i))
	}
	p.AwaitNotReady("disabled", v1alpha1.DisabledReason)

	// The lease is renewed every two seconds: it is the clock by which nothing else happens. What the last writes still
	// cause comes before the first renewal that is waited for.
	_, settled := p.sinceLeaseRenewals(0, 1)
	_, settled = p.sinceLeaseRenewals(settled, 2)
	if others, _ := p.sinceLeaseRenewals(settled, 3); len(others) > 0 {
		t.Errorf("requests without a change: %v", others)
	}
}
