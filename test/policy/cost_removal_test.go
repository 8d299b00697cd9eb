// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// checkFindsQuadraticPolicy fails if the test does not find a policy that takes time by the square of an object's entries. Its
// expression is the one that dgbot-records once had.
func checkFindsQuadraticPolicy(t *testing.T, m *measurer, samples []*sample) {
	t.Helper()
	at := slices.IndexFunc(samples, func(s *sample) bool {
		return s.resource == "dgbotapikeys" && s.verb == "patch" && len(s.object.GetOwnerReferences()) > 0
	})
	if at < 0 {
		t.Fatal("no key with owner references was measured")
	}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "quadratic"}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{"keys.dgbot.io"}, APIVersions: []string{"*"}, Resources: []string{"dgbotapikeys"}},
		}}}},
		Validations: []admissionv1.Validation{{
			Expression: "object.metadata.?ownerReferences.orValue([]).all(o, o in oldObject.metadata.?ownerReferences.orValue([]))", Message: "quadratic",
		}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: policy.ObjectMeta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	must(t, admin.Create(t.Context(), policy))
	must(t, admin.Create(t.Context(), binding))
	measured := *samples[at]
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		must(t, admin.Delete(ctx, binding))
		must(t, admin.Delete(ctx, policy))
		must(t, wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
			after := measured
			m.measure(ctx, t, &after, 1)
			return after.ratio() <= mostTimes, nil // no longer in effect
		}))
	})
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		m.writeTwin(t.Context(), t, &measured) // the machine may have been busier when its time was taken
		// A write takes seconds once the policy is in effect. On a busy machine it does not end.
		if _, err := m.write(t.Context(), measured.verb, measured.object); apierrors.IsTimeout(err) {
			return true, nil
		}
		m.measure(t.Context(), t, &measured, 1)
		return measured.ratio() > mostTimes || len(measured.cancelled) > 0, nil
	})
	if err != nil {
		t.Errorf("%s takes %.1f times as long with a quadratic policy, and no expression is cancelled: the test would not find one", &measured, measured.ratio())
	}
}

// checkRemovable fails if an object at the limits of the API server, stored before the policies, cannot be removed with them: by users
// who may update and delete it and nothing else, as garbage collection may.
func (m *measurer) checkRemovable(t *testing.T, samples []*sample) {
	t.Helper()
	for _, s := range samples {
		if s.verb != "patch" {
			continue
		}
		object := &unstructured.Unstructured{}
		object.SetGroupVersionKind(s.object.GroupVersionKind())
		object.SetName(s.object.GetName())
		object.SetNamespace(s.object.GetNamespace())
		removals := map[string]client.Patch{
			"all finalizers":       client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)),
			"all owner references": client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"ownerReferences":null}}`)),
		}
		// dgbot-records and dgbot-verifiers let no such user change labels, and compare at most 100 entries that are kept with 100 others: more
		// are removed at once.
		if s.resource != "dgbotapikeyrecords" && s.resource != "leases" {
			removals["all labels"] = client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null}}`))
			removals["all annotations"] = client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":null}}`))
			if len(s.object.GetOwnerReferences())+len(s.object.GetFinalizers()) > 0 {
				removals["one finalizer or owner"] = removeLast(s.object)
			}
		}
		if s.resource == "leases" { // dgbot-verifiers rejects an update that removes nothing
			if len(s.object.GetFinalizers()) == 0 {
				delete(removals, "all finalizers")
			}
			if len(s.object.GetOwnerReferences()) == 0 {
				delete(removals, "all owner references")
			}
		}
		for what, patch := range removals {
			if err := m.remover.Patch(t.Context(), object.DeepCopy(), patch, client.DryRunAll); err != nil {
				t.Errorf("%s with %s: cannot remove %s: %.500v", s.resource, s.shape, what, err)
			}
		}
		if s.resource == "namespaces" {
			continue // they stay until a controller has emptied them
		}
		if patch, remains := removals["all finalizers"]; remains {
			must(t, m.remover.Patch(t.Context(), object.DeepCopy(), patch))
		}
		must(t, m.remover.Delete(t.Context(), object))
		if err := m.remover.Get(t.Context(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
			t.Errorf("%s with %s is not gone: %v", s.resource, s.shape, err)
		}
	}
}
