// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// tool brings what is in Git into the cluster, as often as it likes.
type tool interface {
	// reconcile returns what it had to change: applied because it was new or had drifted, or pruned.
	reconcile(git manifests) (changed []string)
	// rotate has the tool, or the plugin where it has nothing of its own, ask for a rotation of a key.
	rotate(key *unstructured.Unstructured)
}

// argoCD is Argo CD with ServerSideApply=true, ServerSideDiff=true, automated pruning and self-heal. It knows the objects
// of an application by label and annotation, whichever client created them.
type argoCD struct{ *site }

const (
	application        = "support-keys"
	instanceLabel      = "app.kubernetes.io/instance"
	trackingAnnotation = "argocd.argoproj.io/tracking-id"
)

func (a argoCD) track(o *unstructured.Unstructured) *unstructured.Unstructured {
	tracked := o.DeepCopy()
	labels, annotations := tracked.GetLabels(), tracked.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels[instanceLabel] = application
	annotations[trackingAnnotation] = application + ":" + o.GroupVersionKind().Group + "/" + o.GetKind() + ":" + o.GetNamespace() + "/" + o.GetName()
	tracked.SetLabels(labels)
	tracked.SetAnnotations(annotations)
	return tracked
}

func (a argoCD) reconcile(git manifests) (changed []string) {
	a.t.Helper()
	for name, object := range git {
		wanted := a.track(object)
		if a.synced(wanted) {
			continue
		}
		a.apply(wanted, "argocd-controller")
		changed = append(changed, name)
	}
	for _, object := range a.everything() {
		tracked := object.GetLabels()[instanceLabel] == application || strings.HasPrefix(object.GetAnnotations()[trackingAnnotation], application+":")
		kept := slices.Contains(strings.Split(object.GetAnnotations()["argocd.argoproj.io/sync-options"], ","), "Prune=false")
		if git[id(&object)] == nil && tracked && !kept {
			a.must(client.IgnoreNotFound(a.Admin.Delete(a.t.Context(), &object, client.PropagationPolicy(metav1.DeletePropagationForeground))))
			changed = append(changed, "pruned "+id(&object))
		}
	}
	slices.Sort(changed)
	return changed
}

// synced reports whether Argo CD finds no difference between an object and a dry run of applying it. The operator may write
// the status in between.
func (a argoCD) synced(wanted *unstructured.Unstructured) bool {
	a.t.Helper()
	for {
		before := a.live(wanted)
		if before == nil {
			return false
		}
		predicted := a.apply(wanted, "argocd-controller", client.DryRunAll)
		if after := a.live(wanted); after != nil && after.GetResourceVersion() == before.GetResourceVersion() {
			compared, err := withoutMutations(before, predicted, "argocd-controller")
			a.must(err)
			return equality.Semantic.DeepEqual(content(before), compared)
		}
	}
}

// rotate does what Argo CD does with the action: the difference that it makes is applied as a merge patch.
func (a argoCD) rotate(key *unstructured.Unstructured) {
	a.t.Helper()
	live := a.live(key)
	offered := discover(a.t, live.GetKind(), live.Object)
	if offered[0] != (action{Name: "rotate"}) {
		a.t.Fatalf("rotate is not offered: %+v", offered)
	}
	_, patch := act(a.t, live.GetKind(), "rotate", live.Object)
	a.must(a.Admin.Patch(a.t.Context(), live, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("argocd-server")))
}

// apply applies an object by server-side apply, and returns what comes of it.
func (s *site) apply(object *unstructured.Unstructured, manager string, options ...client.ApplyOption) *unstructured.Unstructured {
	s.t.Helper()
	applied := object.DeepCopy()
	options = append([]client.ApplyOption{client.FieldOwner(manager), client.ForceOwnership}, options...)
	s.must(s.Admin.Apply(s.t.Context(), client.ApplyConfigurationFromUnstructured(applied), options...))
	return applied
}

// content is all of an object but what says who set which field.
func content(object *unstructured.Unstructured) map[string]any {
	rest := object.DeepCopy()
	rest.SetManagedFields(nil)
	return rest.Object
}

// everything is every object in the team's namespaces and in dgbot-identity, of whatever kind, except events.
func (s *site) everything() []unstructured.Unstructured {
	s.t.Helper()
	if len(s.kinds) == 0 {
		s.kinds = s.namespacedKinds()
	}
	var all []unstructured.Unstructured
	for _, kind := range s.kinds {
		for _, namespace := range []string{"support", "support-nonproduction", v1alpha1.IdentityNamespace} {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(kind)
			s.must(s.Admin.List(s.t.Context(), list, client.InNamespace(namespace)))
			all = append(all, list.Items...)
		}
	}
	if len(all) == 0 {
		s.t.Fatal("nothing is in the namespaces")
	}
	return all
}

// namespacedKinds are those that can be listed and deleted.
func (s *site) namespacedKinds() []schema.GroupVersionKind {
	s.t.Helper()
	discover, err := discovery.NewDiscoveryClientForConfig(s.Config)
	s.must(err)
	lists, err := discover.ServerPreferredNamespacedResources()
	s.must(err)
	var kinds []schema.GroupVersionKind
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		s.must(err)
		for _, resource := range list.APIResources {
			if slices.Contains(resource.Verbs, "list") && slices.Contains(resource.Verbs, "delete") && resource.Kind != "Event" {
				kinds = append(kinds, group.WithKind(resource.Kind))
			}
		}
	}
	if len(kinds) < 20 {
		s.t.Fatalf("only %d kinds are known", len(kinds))
	}
	return kinds
}
