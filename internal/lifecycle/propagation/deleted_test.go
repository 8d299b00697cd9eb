// SPDX-License-Identifier: Apache-2.0

package propagation

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

// TestNext_AnEndOutlivesItsRecord: the record was deleted, or cannot be read. Which end it had is not known then, and a verifier with a clock
// that is behind may still accept it.
func TestNext_AnEndOutlivesItsRecord(t *testing.T) {
	ended := withdrawn("7", at(-time.Millisecond))
	ended.State, ended.NotAfter = v1alpha1.StateActive, &metav1.Time{Time: at(time.Second)}
	behind := Verifier{Name: "a", Reports: []Report{{Version: "7", Renewed: at(-3 * time.Minute), SeenAt: at(time.Second)}}}
	w := Withdrawals{Revisions: []*revisions.Revision{ended}, AnsweredAt: now, View: View{Verifiers: []Verifier{behind}}}
	pending := settled(t, nil, w, at(2*time.Second))
	w.Revisions = nil
	if got := settled(t, pending, w, at(3*time.Second)); got.ConfirmedAt != nil {
		t.Fatalf("confirmed by a verifier whose clock is three minutes behind: %+v", got)
	}
	behind.Reports = append(behind.Reports, Report{Version: "7", Renewed: at(time.Second), SeenAt: at(4 * time.Minute)})
	w.View.Verifiers[0] = behind
	if got := settled(t, pending, w, at(5*time.Minute)); got.ConfirmedAt == nil {
		t.Errorf("its clock has reached the end, and it is %+v", got)
	}
}
