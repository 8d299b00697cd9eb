// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// environment creates one that is gone after the test.
func (p *place) environment(name string, rules v1alpha1.DGbotEnvironmentSpec) {
	p.T.Helper()
	env := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: rules}
	must(p.T, admin.Create(p.T.Context(), env))
	p.T.Cleanup(func() { must(p.T, client.IgnoreNotFound(admin.Delete(context.Background(), env))) })
}

func (p *place) changeRules(name, patch string) {
	p.T.Helper()
	env := &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: name}}
	must(p.T, admin.Patch(p.T.Context(), env, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func (p *place) environmentSays(name string, what string, condition func(*v1alpha1.DGbotEnvironmentStatus) bool) {
	p.T.Helper()
	p.Eventually(what, func() bool {
		env := &v1alpha1.DGbotEnvironment{}
		must(p.T, admin.Get(p.T.Context(), types.NamespacedName{Name: name}, env))
		return condition(&env.Status)
	})
}

// TestRulesAreKeptToAsTheyCome, with watches alone to tell the operator of rules, labels and other keys.
func TestRulesAreKeptToAsTheyCome(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	name := p.Name
	one := int32(1)
	p.environment(name, v1alpha1.DGbotEnvironmentSpec{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rules": p.Name}}, MaxKeysPerNamespace: &one,
	})
	p.environmentSays(name, "it selects nothing", func(s *v1alpha1.DGbotEnvironmentStatus) bool {
		return apimeta.IsStatusConditionTrue(s.Conditions, v1alpha1.SelectsNothingCondition)
	})
	p.CreateKey("first", of(name))
	p.AwaitNotReady("first", v1alpha1.EnvironmentPolicyReason)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
	must(t, admin.Patch(t.Context(), namespace, client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(`{"metadata":{"labels":{"rules":%q}}}`, p.Name)))))
	p.AwaitReady("first")
	p.Eventually("another second", func() bool { return time.Now().Nanosecond() < 200_000_000 })
	p.CreateKey("second", of(name))
	p.AwaitNotReady("second", v1alpha1.EnvironmentPolicyReason)
	p.environmentSays(name, "its keys are summed up", func(s *v1alpha1.DGbotEnvironmentStatus) bool {
		return s.Keys == 2 && s.Violating == 1 && apimeta.FindStatusCondition(s.Conditions, v1alpha1.SelectsNothingCondition) == nil
	})
	must(t, admin.Delete(t.Context(), &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "first"}}))
	p.AwaitReady("second")
	p.changeRules(name, `{"spec":{"namespaceSelector":{"matchLabels":{"rules":"others"}}}}`)
	p.Eventually("the key breaks the new rule", func() bool {
		return apimeta.IsStatusConditionTrue(p.Key("second").Status.Conditions, v1alpha1.PolicyViolationCondition)
	})
	p.AwaitReady("second")
}

// TestAChangeOfRulesWritesOnlyWhatItConcerns: of 2,000 keys, three. Most of them are disabled and were never issued: issuing 2,000
// would take minutes here, and looking at each of them again is the same.
func TestAChangeOfRulesWritesOnlyWhatItConcerns(t *testing.T) {
	const name, count, issued, affected = "many", 2000, 150, 3
	startOperator(t)
	p := newPlace(t)
	p.environment(name, v1alpha1.DGbotEnvironmentSpec{})
	p.vouch(name) // an audit could act
	// An operator that starts has to read all there is: other tests are to wait for none of these.
	defer p.clear()
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := worker; i < count; i += 8 {
				scopes := []v1alpha1.Scope{"usual"}
				if i < affected {
					scopes = []v1alpha1.Scope{"odd"}
				}
				state := v1alpha1.StateActive
				if i >= issued {
					state = v1alpha1.StateDisabled
				}
				if err := admin.Create(t.Context(), &v1alpha1.DGbotAPIKey{
					ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: fmt.Sprintf("key-%04d", i)},
					Spec:       v1alpha1.DGbotAPIKeySpec{Label: "One of many", Environment: name, Scopes: scopes, State: state},
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	world.EventuallyEvery(p.T, time.Second, 5*time.Minute, "all are at rest", func() bool {
		var keys v1alpha1.DGbotAPIKeyList
		must(t, admin.List(t.Context(), &keys, client.InNamespace(p.Name)))
		rest := 0
		for i := range keys.Items {
			ready := apimeta.FindStatusCondition(keys.Items[i].Status.Conditions, v1alpha1.ReadyCondition)
			if ready != nil && (ready.Reason == v1alpha1.IssuedReason || ready.Reason == v1alpha1.DisabledReason) {
				rest++
			}
		}
		return rest == count
	})
	p.environmentSays(name, "all are counted", func(s *v1alpha1.DGbotEnvironmentStatus) bool { return s.Keys == count })
	_, settled := p.sinceLeaseRenewals(0, 2)
	p.changeRules(name, `{"spec":{"allowedScopes":["usual"],"maxKeysPerNamespace":2000,"rotation":{"maxOverlap":"168h"},"audit":{"unusedAfter":"2160h","disableAfter":"2880h"}}}`)
	p.environmentSays(name, "the change was looked at", func(s *v1alpha1.DGbotEnvironmentStatus) bool { return s.Violating == affected })
	others, _ := p.sinceLeaseRenewals(settled, 3)
	written, requests := map[string]int{}, 0
	for _, request := range others {
		if namespace := request.ObjectRef.Namespace; request.ObjectRef.APIGroup == v1alpha1.GroupVersion.Group && namespace != "" && namespace != p.Name {
			continue // a key that another test left, and that waits for its environment
		}
		if request.Right() == "get secrets" && request.ObjectRef.Name >= fmt.Sprintf("key-%04d", issued) {
			continue // that a key has no Secret, no cache can say
		}
		requests++
		switch right := request.Right(); {
		case strings.HasPrefix(right, "create events"), strings.HasPrefix(right, "patch events"), right == "patch keys.dgbot.io/dgbotenvironments/status":
		default:
			written[right+" "+request.ObjectRef.Name]++
		}
	}
	for i := range affected {
		delete(written, fmt.Sprintf("patch keys.dgbot.io/dgbotapikeys/status key-%04d", i))
	}
	for what := range written {
		// What is affected is looked at live before it is written.
		if strings.HasPrefix(what, "get ") || strings.HasPrefix(what, "list ") {
			delete(written, what)
		}
	}
	if len(written) > 0 {
		t.Errorf("written beside the %d keys that the change concerns: %v", affected, written)
	}
	if requests > 50 {
		t.Errorf("%d requests because of it", requests)
	}
}

// clear deletes all keys of the place.
func (p *place) clear() {
	p.T.Helper()
	must(p.T, admin.DeleteAllOf(p.T.Context(), &v1alpha1.DGbotAPIKey{}, client.InNamespace(p.Name)))
	world.EventuallyEvery(p.T, time.Second, 5*time.Minute, "they are gone", func() bool {
		var keys v1alpha1.DGbotAPIKeyList
		must(p.T, admin.List(p.T.Context(), &keys, client.InNamespace(p.Name), client.Limit(1)))
		return len(keys.Items) == 0
	})
}

// sinceLeaseRenewals returns what the operator asked for since an offset of the audit log, once its lease was renewed so often.
func (p *place) sinceLeaseRenewals(offset int64, times int) (others []controlplane.AuditEvent, end int64) {
	p.T.Helper()
	p.Eventually("the lease is renewed", func() bool {
		var requests []controlplane.AuditEvent
		var err error
		requests, end, err = controlplane.ReadAuditFrom(world.AuditLog, offset)
		must(p.T, err)
		others = nil
		for _, request := range requests {
			if request.ObjectRef.Resource != "leases" && request.Verb != "watch" {
				others = append(others, request)
			}
		}
		return len(requests)-len(others) >= times
	})
	return others, end
}
