// SPDX-License-Identifier: Apache-2.0

package change

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// issued is a key that was issued two days ago.
func issued(t *testing.T, change func(*v1alpha1.DGbotAPIKey)) lifecycle.Observation {
	t.Helper()
	k := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "web", UID: "a-uid", Generation: 1, CreationTimestamp: *clitest.At(-48 * time.Hour)}}
	k.Spec = v1alpha1.DGbotAPIKeySpec{Label: "Web", Environment: "production", State: v1alpha1.StateActive}
	sim := lifecycle.Simulation{Observation: lifecycle.Observation{Key: k, Secret: revisions.Secret{State: revisions.SecretAbsent}}, Now: clitest.Now.Add(-48 * time.Hour)}
	if _, err := sim.Settle(); err != nil {
		t.Fatal(err)
	}
	change(sim.Key)
	return sim.Observation
}

func TestForesee_ShowsWhatARequestDoes(t *testing.T) {
	for name, tc := range map[string]struct {
		annotation string
		change     func(*v1alpha1.DGbotAPIKey)
		want       []string
		note       string
	}{
		"rotate": {v1alpha1.RotateRequestedAtAnnotation, func(*v1alpha1.DGbotAPIKey) {}, []string{
			`0s: revision 2 is issued (Request), and its key put into Secret "web"`, "24h0m0s: revision 1 stops verifying",
		}, ""},
		// On schedule a key is rotated up to a tenth early, by its uid.
		"rotate with a schedule": {v1alpha1.RotateRequestedAtAnnotation, func(k *v1alpha1.DGbotAPIKey) {
			k.Spec.Rotation = &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: 720 * time.Hour}, Overlap: &metav1.Duration{Duration: time.Hour}}
		}, []string{
			`0s: revision 2 is issued (Request), and its key put into Secret "web"`, "1h0m0s: revision 1 stops verifying", "716h38m0s: the next rotation is due",
		}, ""},
		"compromise": {v1alpha1.RevokeIssuedBeforeAnnotation, func(*v1alpha1.DGbotAPIKey) {}, []string{
			`0s: revision 2 is issued (Revocation), and its key put into Secret "web"`, "0s: revision 1 is revoked for good",
		}, ""},
		"rotate what is disabled": {
			v1alpha1.RotateRequestedAtAnnotation, func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled },
			[]string{"0s: revision 1 is disabled"}, "Disabled: ",
		},
		"rotate what has expired": {
			v1alpha1.RotateRequestedAtAnnotation, func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = clitest.At(-time.Hour) },
			[]string{"-1h0m0s: revision 1 stops verifying"}, "Expired: ",
		},
	} {
		seen := issued(t, tc.change)
		f, err := simulate(seen, tc.annotation, *clitest.At(0), clitest.Now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range f.Effects {
			// A revision counts as issued in the second after the request.
			got = append(got, h.At.Sub(clitest.Now).Round(time.Minute).String()+": "+h.What)
		}
		if strings.Join(got, "\n") != strings.Join(tc.want, "\n") {
			t.Errorf("%s:\n%s", name, strings.Join(got, "\n"))
		}
		if tc.note == "" && len(f.Notes) > 0 || tc.note != "" && (len(f.Notes) != 1 || !strings.HasPrefix(f.Notes[0], tc.note)) {
			t.Errorf("%s: notes %v", name, f.Notes)
		}
		if _, changed := seen.Key.Annotations[tc.annotation]; changed || len(seen.Records) != 1 || seen.Records[0].Spec.NotAfter != nil {
			t.Errorf("%s: what was observed has changed", name)
		}
	}
}

// TestForesee_LeavesOutEndedRevisionsAndNotesObstacles: a revision that ended before is not news; a reason why the operator issues nothing is.
func TestForesee_LeavesOutEndedRevisionsAndNotesObstacles(t *testing.T) {
	seen := issued(t, func(k *v1alpha1.DGbotAPIKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{
			Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.SecretWriteRefusedReason, Message: "quota",
		})
	})
	old := seen.Records[0].DeepCopy()
	old.Name, old.UID, old.Spec.Revision, old.Spec.Hash, old.Spec.NotAfter = "old", "old", 0, "sha256:old", clitest.At(-24*time.Hour)
	seen.Records = append(seen.Records, *old)
	f, err := simulate(seen, v1alpha1.RotateRequestedAtAnnotation, *clitest.At(0), clitest.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range f.Effects {
		if h.Revision == 0 {
			t.Errorf("%+v", h)
		}
	}
	if len(f.Notes) != 1 || !strings.Contains(f.Notes[0], "SecretWriteRefused: quota") {
		t.Errorf("notes %v", f.Notes)
	}
}
