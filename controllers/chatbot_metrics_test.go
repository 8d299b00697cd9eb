// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestSeriesOfAChatbot: as those of a key.
func TestSeriesOfAChatbot(t *testing.T) {
	w := newFixture(t)
	w.createBot("first", w.adopting)
	w.restBots(live, "first")
	w.createBot(botName, w.adopting)
	series := func(want string) {
		t.Helper()
		if err := testutil.CollectAndCompare(w.collector(), strings.NewReader(strings.ReplaceAll(want, "NAMESPACE", w.Name)), "dgbot_chatbot_ready_status", "dgbot_chatbot_abnormal_condition"); err != nil {
			t.Error(err)
		}
	}
	const ready = `
# HELP dgbot_chatbot_ready_status 1 for the status that the chatbot's condition Ready has (True, False or Unknown), 0 for the two others. Unknown: the chatbot has no status yet.
# TYPE dgbot_chatbot_ready_status gauge
dgbot_chatbot_ready_status{condition="True",environment="production",name="first",namespace="NAMESPACE"} 1
dgbot_chatbot_ready_status{condition="False",environment="production",name="first",namespace="NAMESPACE"} 0
dgbot_chatbot_ready_status{condition="Unknown",environment="production",name="first",namespace="NAMESPACE"} 0
dgbot_chatbot_ready_status{condition="True",environment="production",name="support-bot",namespace="NAMESPACE"} 0
`
	series(ready + `
dgbot_chatbot_ready_status{condition="False",environment="production",name="support-bot",namespace="NAMESPACE"} 0
dgbot_chatbot_ready_status{condition="Unknown",environment="production",name="support-bot",namespace="NAMESPACE"} 1
`)
	w.restBots(live, botName)
	series(ready + `
dgbot_chatbot_ready_status{condition="False",environment="production",name="support-bot",namespace="NAMESPACE"} 1
dgbot_chatbot_ready_status{condition="Unknown",environment="production",name="support-bot",namespace="NAMESPACE"} 0
# HELP dgbot_chatbot_abnormal_condition 1 for each of the chatbot's conditions Reconciling, Stalled, RequestInvalid, RequestPending, ImportIgnored and ImportPadded while it is True, with its reason. No series otherwise.
# TYPE dgbot_chatbot_abnormal_condition gauge
dgbot_chatbot_abnormal_condition{condition="Stalled",environment="production",name="support-bot",namespace="NAMESPACE",reason="ChatbotIDConflict"} 1
`)
}

// TestIssuedHMACSecretsAreCounted by their cause, and a repaired one is not.
func TestIssuedHMACSecretsAreCounted(t *testing.T) {
	w := newFixture(t)
	count := func(cause v1alpha1.Cause) float64 {
		return seriesValue(t, "dgbot_chatbot_secrets_issued_total", string(cause))
	}
	first, request := count(v1alpha1.CauseFirstIssue), count(v1alpha1.CauseRequest)
	hmacBot(w)
	w.restBots(live, botName)
	w.deleteObject(w.hmacSecret())
	w.restBots(live, botName)
	w.rotateHMAC()
	w.restBots(live, botName)
	if first, request = count(v1alpha1.CauseFirstIssue)-first, count(v1alpha1.CauseRequest)-request; first != 1 || request != 1 {
		t.Errorf("%.0f first issues and %.0f requests were counted", first, request)
	}
}
