// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// auditLog is the API server's: every request of the operator's service account, without bodies.
var auditLog string

func TestAnUnchangedWorldCausesNoRequests(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	for i := range 10 {
		p.apply(fmt.Sprintf("key-%d", i), nil)
	}
	p.applyBot("bot", "")
	p.bot("bot", v1alpha1.PublishedReason)
	p.healHMACSecret("bot")
	p.apply("of-a-chatbot", func(k *v1alpha1.DGbotAPIKey) { k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"} })
	p.ready("of-a-chatbot")
	p.apply("disabled", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	for i := range 10 {
		p.ready(fmt.Sprintf("key-%d", i))
	}
	p.notReady("disabled", v1alpha1.DisabledReason)

	// The lease is renewed every two seconds: it is the clock by which nothing else happens. What the last writes still
	// cause comes before the first renewal that is waited for.
	_, settled := p.sinceLeaseRenewals(0, 1)
	_, settled = p.sinceLeaseRenewals(settled, 2)
	if others, _ := p.sinceLeaseRenewals(settled, 3); len(others) > 0 {
		t.Errorf("requests without a change: %v", others)
	}
}
