// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// use reports one as a verifier does.
func (w *fixture) use(record *v1alpha1.DGbotAPIKeyRecord, at *metav1.Time) {
	w.T.Helper()
	before := record.DeepCopy()
	record.Status.LastUsedAt = at
	if err := live.Status().Patch(w.T.Context(), record, client.MergeFrom(before)); err != nil {
		w.T.Fatal(err)
	}
}

func TestTheLastUseIsCarriedInOneWrite(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.advance(time.Minute)
	used := w.second()
	w.use(w.published(), used)
	before := w.key()
	w.rest()
	after := w.key()
	if !after.Status.LastUsedAt.Equal(used) || !after.Status.Current.LastUsedAt.Equal(used) {
		t.Errorf("last used at %s: the status says %v, %v", used, after.Status.LastUsedAt, after.Status.Current.LastUsedAt)
	}
	w.rest()
	if w.key().ResourceVersion != after.ResourceVersion || after.ResourceVersion == before.ResourceVersion || len(w.records()) != 1 {
		t.Error("a use that is known is written again, or something is minted")
	}
}
