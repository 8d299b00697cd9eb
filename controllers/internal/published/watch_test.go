// SPDX-License-Identifier: Apache-2.0

package published

import (
	"context"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/queue/queuetest"
	"dgbot.io/key-operator/controllers/internal/read"
)

// publication is what the tests run for: a kind of owners, and a kind of objects that are published for it.
type publication struct {
	kind      OwnerKind
	owner     func() client.Object
	published func() client.Object
}

var publications = map[string]publication{
	"Secret of a key": {KeyOwner, func() client.Object { return &v1alpha1.DGbotAPIKey{} }, func() client.Object { return read.Metadata("Secret") }},
	"Secret of a chatbot": {
		ChatbotOwner, func() client.Object { return &v1alpha1.DGbotChatbot{} }, func() client.Object { return read.Metadata("Secret") },
	},
	"ConfigMap of a chatbot": {
		ChatbotOwner, func() client.Object { return &v1alpha1.DGbotChatbot{} }, func() client.Object { return &corev1.ConfigMap{} },
	},
}

func (p publication) named(name string) client.Object {
	owner := p.owner()
	owner.SetNamespace("support")
	owner.SetName(name)
	owner.SetUID(types.UID("uid-" + name))
	return owner
}

// version returns a version of the published object that has the owner's label with that uid.
func (p publication) version(uid types.UID, resourceVersion string, owners ...metav1.OwnerReference) client.Object {
	object := p.published()
	object.SetNamespace("support")
	object.SetName("shared")
	object.SetUID("shared")
	object.SetResourceVersion(resourceVersion)
	object.SetLabels(map[string]string{p.kind.label: string(uid)})
	object.SetOwnerReferences(owners)
	return object
}

// deliver passes an event to a handler: a creation without a version before, a deletion without one after.
func deliver(ctx context.Context, to handler.EventHandler, before, after client.Object, queue *queuetest.Recorder) {
	switch {
	case before == nil:
		to.Create(ctx, event.CreateEvent{Object: after}, queue)
	case after == nil:
		to.Delete(ctx, event.DeleteEvent{Object: before}, queue)
	default:
		to.Update(ctx, event.UpdateEvent{ObjectOld: before, ObjectNew: after}, queue)
	}
}

// TestWakeOwners_WakesTheOwnerFirst: of the objects that name a published object only its owner is woken by every change. The others wait for
// it to go.
func TestWakeOwners_WakesTheOwnerFirst(t *testing.T) {
	another := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"}
	for what, p := range publications {
		controller := *metav1.NewControllerRef(p.named("owner"), v1alpha1.GroupVersion.WithKind(p.kind.kind))
		for name, test := range map[string]struct {
			before, after client.Object
			now, later    []string
		}{
			"created":                   {nil, p.version("uid-owner", "7"), []string{"owner"}, []string{"other", "third"}},
			"created by its controller": {nil, p.version("", "7", controller), []string{"owner"}, []string{"other", "third"}},
			"touched":                   {p.version("uid-owner", "7"), p.version("uid-owner", "8"), []string{"owner"}, nil},
			"moved to another owner":    {p.version("uid-owner", "7"), p.version("uid-other", "8"), []string{"other", "owner"}, []string{"third"}},
			"foreign and touched":       {p.version("foreign", "7", another), p.version("foreign", "8", another), nil, nil},
			"foreign, another owner":    {p.version("foreign", "7"), p.version("foreign", "8", another), nil, []string{"other", "owner", "third"}},
			"no longer the owner's":     {p.version("uid-owner", "7"), p.version("foreign", "8"), []string{"owner"}, []string{"other", "third"}},
			"gone":                      {p.version("uid-owner", "7"), nil, []string{"other", "owner", "third"}, nil},
			"foreign and gone":          {p.version("foreign", "7"), nil, []string{"other", "owner", "third"}, nil},
		} {
			t.Run(what+" "+name, func(t *testing.T) {
				naming := func(_ context.Context, object client.Object) []client.Object {
					if object.GetName() != "shared" {
						t.Errorf("asked who names %s", object.GetName())
					}
					return []client.Object{p.named("owner"), p.named("other"), p.named("third")}
				}
				queue := queuetest.NewRecorder()
				deliver(t.Context(), WakeOwners(p.kind, naming), test.before, test.after, queue)
				if now, later := slices.Sorted(maps.Keys(queue.Now)), slices.Sorted(maps.Keys(queue.Later)); !slices.Equal(now, test.now) || !slices.Equal(later, test.later) {
					t.Errorf("woken at once: %v, later: %v; want %v and %v", now, later, test.now, test.later)
				}
			})
		}
	}
}

// TestWakeOwners_IgnoresTheInitialList: after a start every owner is reconciled anyway.
func TestWakeOwners_IgnoresTheInitialList(t *testing.T) {
	p, queue := publications["Secret of a key"], queuetest.NewRecorder()
	wake := WakeOwners(p.kind, func(context.Context, client.Object) []client.Object { return []client.Object{p.named("owner")} })
	wake.Create(t.Context(), event.CreateEvent{Object: p.version("uid-owner", "7"), IsInInitialList: true}, queue)
	if len(queue.Now)+len(queue.Later) != 0 {
		t.Errorf("woken at once: %v, later: %v; want none", queue.Now, queue.Later)
	}
}
