// SPDX-License-Identifier: Apache-2.0

package apikeys

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue"
)

// TestReportsOfUsesWakeLateAndNothingElseDoes goes through all that may change about a record.
func TestReportsOfUsesWakeLateAndNothingElseDoes(t *testing.T) {
	now := metav1.Now()
	for name, tc := range map[string]struct {
		change func(*v1alpha1.DGbotAPIKeyRecord)
		late   bool
	}{
		"a use":       {func(r *v1alpha1.DGbotAPIKeyRecord) { r.Status.LastUsedAt = &now }, true},
		"spec":        {func(r *v1alpha1.DGbotAPIKeyRecord) { r.Generation++ }, false},
		"owner":       {func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil }, false},
		"label":       {func(r *v1alpha1.DGbotAPIKeyRecord) { r.Labels = nil }, false},
		"annotation":  {func(r *v1alpha1.DGbotAPIKeyRecord) { r.Annotations = map[string]string{"a": "b"} }, false},
		"deletion":    {func(r *v1alpha1.DGbotAPIKeyRecord) { r.DeletionTimestamp = &now }, false},
		"another one": {func(r *v1alpha1.DGbotAPIKeyRecord) { r.UID = "another" }, false},
		"a resync":    {func(r *v1alpha1.DGbotAPIKeyRecord) { r.ResourceVersion = "1" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := &v1alpha1.DGbotAPIKeyRecord{ObjectMeta: metav1.ObjectMeta{
				Namespace: "support", Name: "crm-r1", UID: "uid", ResourceVersion: "1", Generation: 1,
				Labels: map[string]string{"a": "b"}, OwnerReferences: []metav1.OwnerReference{{Name: "crm", UID: "owner"}},
			}}
			before.Spec.APIKeyRef.Name = "crm"
			after := before.DeepCopy()
			after.ResourceVersion = "2"
			tc.change(after)
			woken := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer woken.ShutDown()
			change := event.UpdateEvent{ObjectOld: before, ObjectNew: after}
			wakeKeyOfRecord().Update(t.Context(), change, woken)
			if late := woken.Len() == 0; late != tc.late {
				t.Errorf("waking is put off: %v", late)
			}
			if let := queue.IgnoreUsage().Update(change); let == tc.late {
				t.Errorf("the record controller is woken: %v", let)
			}
		})
	}
}
