// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

// secretOwner is a kind of ours that Secrets are published for.
type secretOwner struct {
	kind string
	// label stands on its Secrets, with the owner's uid.
	label string
}

var (
	keyOwner     = secretOwner{v1alpha1.APIKeyKind, v1alpha1.APIKeyLabel}
	chatbotOwner = secretOwner{v1alpha1.ChatbotKind, v1alpha1.ChatbotLabel}
)

// own makes an object of a kind of ours the controller of something that is published for it.
func own(published metav1.Object, owner metav1.Object, kind string) {
	want := *metav1.NewControllerRef(owner, v1alpha1.GroupVersion.WithKind(kind))
	is := published.GetOwnerReferences()
	isOurs := func(o metav1.OwnerReference) bool { return o.UID == owner.GetUID() }
	others := slices.DeleteFunc(slices.Clone(is), isOurs)
	at := slices.IndexFunc(is, isOurs)
	if at < 0 {
		at = len(others)
	}
	published.SetOwnerReferences(slices.Insert(others, min(at, len(others)), want))
}

// claimOn says whose a Secret is, as far as it can be told from the Secret: the owner's with a uid, foreign, or that of another
// uid, which is left over if there is no such owner.
func claimOn(secret metav1.Object, uid types.UID, owner secretOwner) (state lifecycle.SecretState, otherUID types.UID) {
	label := types.UID(secret.GetLabels()[owner.label])
	controller := metav1.GetControllerOfNoCopy(secret)
	switch {
	case controller != nil && controller.UID == uid && lifecycle.IsReferenceTo(owner.kind, *controller):
		return lifecycle.SecretOwned, ""
	case controller == nil && label == uid:
		return lifecycle.SecretOwned, ""
	case label == "" || label == uid:
		return lifecycle.SecretForeign, ""
	case len(secret.GetOwnerReferences()) > 0:
		return lifecycle.SecretCollectable, label
	}
	return lifecycle.SecretLeftOver, label
}

// ownerText is the value of OwnerAnnotation.
func ownerText(owner metav1.Object) string { return owner.GetNamespace() + "/" + owner.GetName() }

// mayLive reports whether the owner with that uid, which a published object names, lives or may live in any namespace. Only an object
// whose owner is certainly gone may be taken over: one whose owner lives elsewhere is a copy that a replicator made, labels included,
// of something that is in use there, and taking it over would overwrite it.
//
// The cache may report that the owner lives: nothing is done then. Only the API server may report that it is gone. Where the operator may
// not look for an owner of another namespace, the owner may live.
func (o secretOwner) mayLive(ctx context.Context, gone *goneOwners, cached, live client.Reader, published metav1.Object, uid types.UID) (lives bool, err error) {
	owner := goneOwner{uid, published.GetAnnotations()[v1alpha1.OwnerAnnotation]}
	if gone.has(owner) {
		return false, nil
	}
	err = bounded(ctx, func(ctx context.Context) error {
		namespace, name, named := strings.Cut(owner.at, "/")
		if named {
			lives, err = o.livesAt(ctx, cached, live, types.NamespacedName{Namespace: namespace, Name: name}, uid)
		} else {
			lives, err = o.livesAnywhere(ctx, cached, live, uid)
		}
		if apierrors.IsForbidden(err) && (!named || namespace != published.GetNamespace()) {
			lives, err = true, nil
		}
		return err
	})
	if err == nil && !lives {
		gone.add(owner)
	}
	return lives, err
}

// livesAt looks for an owner by name. A user who can edit the object can name a wrong place: the cache is asked for other places.
func (o secretOwner) livesAt(ctx context.Context, cached, live client.Reader, name types.NamespacedName, uid types.UID) (bool, error) {
	known := o.object()
	if found, err := get(ctx, cached, name, known); err == nil && found && known.GetUID() == uid {
		return true, nil
	}
	is := &metav1.PartialObjectMetadata{}
	is.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.kind))
	if found, err := get(ctx, live, name, is); err != nil || found && is.UID == uid {
		return err == nil, err
	}
	found, err := o.isCached(ctx, cached, uid)
	if apierrors.IsForbidden(err) {
		return false, nil // the operator works in some namespaces only, and the named one is among them
	}
	return found, err
}

// isCached reports whether the cache has an owner with that uid, in any namespace.
func (o secretOwner) isCached(ctx context.Context, cached client.Reader, uid types.UID) (found bool, err error) {
	known := o.list()
	if err := cached.List(ctx, known, client.UnsafeDisableDeepCopy); err != nil {
		return false, err
	}
	err = apimeta.EachListItem(known, func(item runtime.Object) error {
		object, err := apimeta.Accessor(item)
		found = found || err == nil && object.GetUID() == uid
		return err
	})
	return found, err
}

// livesAnywhere looks for an owner in all namespaces. Objects from before OwnerAnnotation need that, and those that lost it.
func (o secretOwner) livesAnywhere(ctx context.Context, cached, live client.Reader, uid types.UID) (bool, error) {
	if found, err := o.isCached(ctx, cached, uid); err == nil && found {
		return true, nil
	}
	all := &metav1.PartialObjectMetadataList{}
	all.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.kind + "List"))
	if err := live.List(ctx, all); err != nil {
		return false, err
	}
	return slices.ContainsFunc(all.Items, func(is metav1.PartialObjectMetadata) bool { return is.UID == uid }), nil
}

func (o secretOwner) object() client.Object {
	if o.kind == v1alpha1.ChatbotKind {
		return &v1alpha1.DGbotChatbot{}
	}
	return &v1alpha1.DGbotAPIKey{}
}

func (o secretOwner) list() client.ObjectList {
	if o.kind == v1alpha1.ChatbotKind {
		return &v1alpha1.DGbotChatbotList{}
	}
	return &v1alpha1.DGbotAPIKeyList{}
}

// maxGone bounds how many owners that are gone are remembered.
const maxGone = 4096

// goneOwner is an owner that was not found where an object said that it is. Both are remembered: an object that names a wrong place
// must not make another object's owner count as gone.
type goneOwner struct {
	uid types.UID
	at  string
}

// goneOwners remembers owners that no longer exist. The API server gives no uid twice, so one that is gone stays gone: the objects that many
// keys name, and that an owner once had, cost one look. The zero value is ready to use, and safe for concurrent use.
type goneOwners struct {
	mutex sync.Mutex
	gone  map[goneOwner]bool
}

func (g *goneOwners) has(owner goneOwner) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.gone[owner]
}

func (g *goneOwners) add(owner goneOwner) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.gone == nil || len(g.gone) >= maxGone {
		g.gone = map[goneOwner]bool{}
	}
	g.gone[owner] = true
}
