// SPDX-License-Identifier: Apache-2.0

// Package published has what keys and chatbots have in common as owners of published objects: whose an object is, what the operator writes
// into it beside the entries of each kind, and whether the object can be written.
package published

import (
	"context"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/caching"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// OwnerKind describes a kind of owner, for whose objects the operator publishes Secrets and ConfigMaps.
type OwnerKind struct {
	kind string
	// label is the label on its Secrets, with the owner's uid.
	label string
}

// The kinds of owners.
var (
	KeyOwner     = OwnerKind{v1alpha1.APIKeyKind, v1alpha1.APIKeyLabel}
	ChatbotOwner = OwnerKind{v1alpha1.ChatbotKind, v1alpha1.ChatbotLabel}
)

// OwnershipOf returns whose a Secret is, according to its metadata: that of the owner with this uid, foreign, or that of an owner with
// another uid. The last is orphaned if that owner does not exist, see MayExist.
func OwnershipOf(secret metav1.Object, uid types.UID, owner OwnerKind) (state revisions.SecretState, otherUID types.UID) {
	label := types.UID(secret.GetLabels()[owner.label])
	controller := metav1.GetControllerOfNoCopy(secret)
	switch {
	case controller != nil && controller.UID == uid && standing.IsReferenceTo(owner.kind, *controller):
		return revisions.SecretOwned, ""
	case controller == nil && label == uid:
		return revisions.SecretOwned, ""
	case label == "" || label == uid:
		return revisions.SecretForeign, ""
	case len(secret.GetOwnerReferences()) > 0:
		return revisions.SecretCollectable, label
	}
	return revisions.SecretUnowned, label
}

// MayExist reports whether the owner with that uid, which a published object names, exists or may exist in any namespace. The operator may
// take over only an object whose owner certainly does not exist. If the owner is in another namespace, the object is a replicator's copy
// of an object that is in use there, labels included; taking it over would overwrite it.
//
// The cache may show that the owner exists; then nothing is done. Only the API server can show that it does not. If the operator has no
// right to read an owner in another namespace, the owner may exist.
func (o OwnerKind) MayExist(ctx context.Context, gone *GoneOwners, cached, live client.Reader, published metav1.Object, uid types.UID) (lives bool, err error) {
	owner := goneOwner{uid, published.GetAnnotations()[v1alpha1.OwnerAnnotation]}
	if gone.has(owner) {
		return false, nil
	}
	err = read.Bounded(ctx, func(ctx context.Context) error {
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

// livesAt finds an owner by name. A user who can edit the object can name a wrong place, so the cache is asked for other places.
func (o OwnerKind) livesAt(ctx context.Context, cached, live client.Reader, name types.NamespacedName, uid types.UID) (bool, error) {
	known := o.object()
	if found, err := read.Get(ctx, cached, name, known); err == nil && found && known.GetUID() == uid {
		return true, nil
	}
	is := &metav1.PartialObjectMetadata{}
	is.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.kind))
	if found, err := read.Get(ctx, live, name, is); err != nil || found && is.UID == uid {
		return err == nil, err
	}
	found, err := o.isCached(ctx, cached, uid)
	if apierrors.IsForbidden(err) {
		return false, nil // the operator works in some namespaces only, and the named one is among them
	}
	return found, err
}

// isCached reports whether the cache has an owner with that uid, in any namespace.
func (o OwnerKind) isCached(ctx context.Context, cached client.Reader, uid types.UID) (found bool, err error) {
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

// livesAnywhere finds an owner in all namespaces. Objects from before OwnerAnnotation need that, and objects that lost it.
func (o OwnerKind) livesAnywhere(ctx context.Context, cached, live client.Reader, uid types.UID) (bool, error) {
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

func (o OwnerKind) object() client.Object {
	if o.kind == v1alpha1.ChatbotKind {
		return &v1alpha1.DGbotChatbot{}
	}
	return &v1alpha1.DGbotAPIKey{}
}

func (o OwnerKind) list() client.ObjectList {
	if o.kind == v1alpha1.ChatbotKind {
		return &v1alpha1.DGbotChatbotList{}
	}
	return &v1alpha1.DGbotAPIKeyList{}
}

// HasOtherOwner reports whether an orphaned Secret has another owner beside the one with that uid, which does not exist. Garbage
// collection then keeps the Secret as long as the other owner exists; the operator has no right to read that one.
func HasOtherOwner(secret metav1.Object, uid types.UID, owner OwnerKind) bool {
	return slices.ContainsFunc(secret.GetOwnerReferences(), func(o metav1.OwnerReference) bool {
		return o.UID != uid || !standing.IsReferenceTo(owner.kind, o)
	})
}

// isOwnedBy reports whether a published object is owned by an object; nil never is.
func isOwnedBy(object metav1.Object, owner OwnerKind, published client.Object) bool {
	if published == nil {
		return false
	}
	state, _ := OwnershipOf(published, object.GetUID(), owner)
	return state == revisions.SecretOwned
}

// sameOwnership reports whether two versions of a published object, as a cache holds them, have the same metadata that ownership follows from.
func sameOwnership(a, b client.Object) bool {
	return a.GetUID() == b.GetUID() && maps.Equal(a.GetLabels(), b.GetLabels()) && maps.Equal(a.GetAnnotations(), b.GetAnnotations()) &&
		slices.EqualFunc(a.GetOwnerReferences(), b.GetOwnerReferences(), caching.EqualOwners)
}
