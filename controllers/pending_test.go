// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientevents "k8s.io/client-go/tools/events"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// warningsOf returns the Warning events of a reason that a recorder holds, and empties it.
func warningsOf(recorder any, reason string) (found []string) {
	events := recorder.(*clientevents.FakeRecorder).Events //nolint:forcetypeassert // newFixture made it
	for len(events) > 0 {
		if event := <-events; strings.HasPrefix(event, "Warning "+reason+" ") {
			found = append(found, event)
		}
	}
	return found
}

// TestReconcile_ReportsARevocationInTheFuture: until it is due the key verifies, and the key says so.
func TestReconcile_ReportsARevocationInTheFuture(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	operator := w.operator(live)
	w.restWith(operator)
	w.edit(func(k *v1alpha1.DGbotAPIKey) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, v1alpha1.RevokeIssuedBeforeAnnotation, w.second().Add(9*time.Hour).Format(time.RFC3339))
	})
	w.restWith(operator)
	pending := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.RequestPendingCondition)
	if pending == nil || pending.Reason != v1alpha1.RevocationPendingReason || !strings.Contains(pending.Message, "Valid revisions now: 1.") {
		t.Errorf("condition %+v", pending)
	}
	if ready := w.ready(); ready == nil || ready.Status != metav1.ConditionTrue || w.verifies() != standing.Admitted {
		t.Errorf("Ready %+v, the key is %s", ready, w.verifies())
	}
	w.restWith(operator)
	if got := warningsOf(operator.Recorder, v1alpha1.RequestPendingReason); len(got) != 1 {
		t.Errorf("warnings: %q", got)
	}
	leaked := w.first().DeepCopy()
	w.advance(9 * time.Hour)
	w.restWith(operator)
	if pending := apimeta.FindStatusCondition(w.key().Status.Conditions, v1alpha1.RequestPendingCondition); pending != nil {
		t.Errorf("due, and still pending: %+v", pending)
	}
	for _, record := range w.records() {
		if record.Name == leaked.Name && record.Spec.State != v1alpha1.StateRevoked {
			t.Errorf("due, and %s is %s", record.Name, record.Spec.State)
		}
	}
}

// TestReconcile_NeverIssuesAKeyThatIsRevokedOrExpiredFromTheStart: as Git creates it anew.
func TestReconcile_NeverIssuesAKeyThatIsRevokedOrExpiredFromTheStart(t *testing.T) {
	for reason, change := range map[string]func(*fixture, *v1alpha1.DGbotAPIKey){
		v1alpha1.RevokedReason: func(_ *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked },
		v1alpha1.ExpiredReason: func(w *fixture, k *v1alpha1.DGbotAPIKey) {
			k.Spec.ExpiresAt = &metav1.Time{Time: w.second().Add(-time.Hour)}
		},
	} {
		t.Run(reason, func(t *testing.T) {
			w := newFixture(t)
			w.create(func(k *v1alpha1.DGbotAPIKey) { change(w, k) })
			w.rest()
			w.advance(48 * time.Hour)
			w.rest()
			if ready := w.ready(); ready == nil || ready.Status != metav1.ConditionFalse || ready.Reason != reason {
				t.Errorf("Ready %+v", ready)
			}
			if records := w.records(); len(records) != 0 || w.secret() != nil {
				t.Errorf("records %+v, a Secret: %t", records, w.secret() != nil)
			}
		})
	}
}

// TestReconcileChatbot_ReportsWhiteSpaceAroundAnImport: the key is the bytes as they stand.
func TestReconcileChatbot_ReportsWhiteSpaceAroundAnImport(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		padded  bool
	}{
		"a line end":     {theirs + "\n", true},
		"a space before": {" " + theirs, true},
		"neither":        {theirs, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.existing(test.content)
			w.createBot(botName, importing)
			w.restBots(live, botName)
			padded := apimeta.FindStatusCondition(w.bot(botName).Status.Conditions, v1alpha1.ImportPaddedCondition)
			if (padded != nil) != test.padded || padded != nil && (padded.Reason != v1alpha1.SurroundingWhiteSpaceReason ||
				!strings.Contains(padded.Message, `entry "hmac" of Secret "existing"`) || strings.Contains(padded.Message, theirs)) {
				t.Errorf("condition %+v", padded)
			}
			if w.botReason(botName) != v1alpha1.PublishedReason || string(w.hmacSecret().Data[v1alpha1.IdentitySecretKey]) != test.content {
				t.Errorf("Ready %s, %q", w.botReason(botName), w.hmacSecret().Data[v1alpha1.IdentitySecretKey])
			}
		})
	}
}
