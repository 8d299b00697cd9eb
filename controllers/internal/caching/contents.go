// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/reservation"
)

// The caches hold only what the reconcilers read. Every user who may edit ConfigMaps or Secrets in a namespace can set the labels by
// which the operator caches them, and 300 ConfigMaps of 900 KiB, or as many large annotations, would exceed the manager's memory.
//
// Objects are therefore stripped before they reach a cache, and lists come in pages that are stripped one by one. Use a cached object only
// to compare, and never write it: an update with a stripped object would remove what others added.

// Annotations are the annotations that reconcilers read from a cache. An annotation that is added here must have a bounded value,
// which stripValue ensures.
var Annotations = []string{
	v1alpha1.ChatbotHolderAnnotation,
	v1alpha1.OwnerAnnotation,
	v1alpha1.SupersededByAnnotation,
	v1alpha1.AuditAnnotation,
	v1alpha1.WithdrawnAtAnnotation,
	v1alpha1.RotateRequestedAtAnnotation,
	v1alpha1.RevokeIssuedBeforeAnnotation,
	v1alpha1.KeptAtAnnotation,
	v1alpha1.TrackedSinceAnnotation,
}

// registrationAnnotations are the annotations that reconcilers read from the cached Lease of a registered verifier, besides Annotations.
var registrationAnnotations = []string{
	v1alpha1.MaxStalenessAnnotation, v1alpha1.OnStaleAnnotation, v1alpha1.RegisteredByAnnotation, v1alpha1.StoppedAnnotation,
}

// Labels are the labels that reconcilers read from a cache, or select cached objects by. A Namespace keeps all of its labels up to
// maxNamespaceLabels: the namespaceSelector of a DGbotEnvironment can name any.
var Labels = []string{v1alpha1.APIKeyLabel, v1alpha1.ChatbotLabel, v1alpha1.ClaimHolderLabel, v1alpha1.ManagedByLabel}

// cachedEntries are the entries of ConfigMaps that reconcilers read from a cache: those of a reservation, and of a widget.
var cachedEntries = []string{reservation.EntryChatbotID, reservation.EntryNamespace, reservation.EntryName, reservation.EntryUID, v1alpha1.WidgetChatbotID, v1alpha1.WidgetSnippet}

// maxCachedValue is the length in bytes up to which the value of an annotation or entry is cached as it is. No value that the operator
// parses is longer, apart from the name of a chatbot with its namespace.
const maxCachedValue = 512

// Strip removes from an object everything that no reconciler reads. It is the transform of all caches, and changes the object in place.
func Strip(object any) (any, error) {
	accessor, err := apimeta.Accessor(object)
	if err != nil {
		return object, nil //nolint:nilerr // a tombstone holds an object that was stripped
	}
	accessor.SetManagedFields(nil)
	accessor.SetFinalizers(nil)
	accessor.SetGenerateName("")
	allLabels, annotations := accessor.GetLabels(), accessor.GetAnnotations()
	accessor.SetAnnotations(Only(annotations, Annotations))
	accessor.SetOwnerReferences(StrippedOwners(accessor.GetOwnerReferences()))
	if metadata, ok := object.(*metav1.PartialObjectMetadata); !ok || metadata.Kind != "Namespace" {
		accessor.SetLabels(Only(allLabels, Labels))
	} else if hasTooManyLabels(metadata.Labels) {
		metadata.Labels = map[string]string{tooManyLabels: ""}
	}
	switch object := object.(type) {
	case *corev1.ConfigMap:
		object.Data, object.BinaryData = Only(object.Data, cachedEntries), nil
	case *coordinationv1.Lease:
		// These are texts of any length.
		object.Spec.HolderIdentity, object.Spec.PreferredHolder, object.Spec.Strategy = nil, nil, nil
		keepRegistration(object, allLabels, annotations)
	case *v1alpha1.DGbotAPIKey:
		if secret := object.Spec.Secret; secret != nil {
			secret.Template = Template(secret.Template)
		}
	case *v1alpha1.DGbotChatbot:
		if iv := object.Spec.IdentityVerification; iv != nil && iv.Secret != nil {
			iv.Secret.Template = Template(iv.Secret.Template)
		}
	}
	return object, nil
}

// maxObservedVersions is the length in bytes up to which the observed versions of a registered verifier are cached as they are. Policy
// dgbot-verifiers accepts no longer annotations. A verifier with a longer text counts as one that observed nothing.
const maxObservedVersions = 64 << 10

// keepRegistration puts back into a stripped Lease by which a verifier registers what package registration reads of it. Its observed
// versions have a part for each of the verifier's watches, and may thus be longer than other values.
func keepRegistration(lease *coordinationv1.Lease, allLabels, annotations map[string]string) {
	value, registered := allLabels[v1alpha1.VerifierLabel]
	if !registered {
		return
	}
	if lease.Labels == nil {
		lease.Labels = map[string]string{}
	}
	lease.Labels[v1alpha1.VerifierLabel] = stripValue(value)
	kept := Only(annotations, slices.Concat(Annotations, registrationAnnotations))
	if observed, ok := annotations[v1alpha1.ObservedVersionsAnnotation]; ok {
		if len(observed) > maxObservedVersions {
			observed = hashOf([]byte(observed))
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[v1alpha1.ObservedVersionsAnnotation] = observed
	}
	lease.Annotations = kept
}

// maxCachedTemplate is how many bytes the names and values of a Secret template may have to be cached as they are. A template may have
// 32 KiB, and any editor may create chatbots: 6,000 large ones would exceed the manager's memory.
const maxCachedTemplate = 1024

// Template returns a template as it is cached: a large one as its hash, so that equal templates stay equal and different ones
// different. What is published is made from a template that was read live.
func Template(template *v1alpha1.SecretTemplate) *v1alpha1.SecretTemplate {
	if template == nil {
		return nil
	}
	size := 0
	for name, value := range template.Labels {
		size += len(name) + len(value)
	}
	for name, value := range template.Annotations {
		size += len(name) + len(value)
	}
	if size <= maxCachedTemplate {
		return template
	}
	text, err := json.Marshal(template)
	if err != nil {
		panic(err) // two maps of strings
	}
	return &v1alpha1.SecretTemplate{Annotations: map[string]v1alpha1.AnnotationValue{"": v1alpha1.AnnotationValue(hashOf(text))}}
}

// hashOf stands for a long value in a cache. The byte before the hash is not UTF-8, so that no value in the API server equals it.
func hashOf(value []byte) string {
	sum := sha256.Sum256(value)
	return "\xff" + hex.EncodeToString(sum[:])
}

// maxNamespaceLabels is how many bytes the names and values of a Namespace's labels may have together. The API server has no such limit,
// and tools let users without other rights create namespaces with labels. The limit has room for more than 200 ordinary labels.
const maxNamespaceLabels = 16 << 10

// tooManyLabels replaces the labels of a Namespace in the cache if they exceed maxNamespaceLabels. It is not UTF-8, so that no selector
// names it.
const tooManyLabels = "\xff"

func hasTooManyLabels(all map[string]string) bool {
	size := 0
	for name, value := range all {
		size += len(name) + len(value)
	}
	_, stripped := all[tooManyLabels]
	return stripped || size > maxNamespaceLabels
}

// SelectsNamespace reports whether a selector selects a Namespace with these labels. It selects none whose labels exceed
// maxNamespaceLabels, whether they were read from the cache or live: of some labels alone, NotIn and DoesNotExist would select too much.
func SelectsNamespace(selector labels.Selector, all map[string]string) bool {
	return !hasTooManyLabels(all) && selector.Matches(labels.Set(all))
}

// Only returns the values with these names, stripped.
func Only(values map[string]string, names []string) map[string]string {
	var kept map[string]string
	for _, name := range names {
		if value, ok := values[name]; ok {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[name] = stripValue(value)
		}
	}
	return kept
}

// stripValue returns a value as it is cached: a long one as its hash, so that equal values stay equal and different ones different.
func stripValue(value string) string {
	if len(value) <= maxCachedValue {
		return value
	}
	return hashOf([]byte(value))
}

// maxCachedOwners bounds the owner references that are cached of an object. Records have one, and only the operator writes them.
const maxCachedOwners = 4

// StrippedOwners returns the reference to the controller and, up to maxCachedOwners, the first of the others.
func StrippedOwners(owners []metav1.OwnerReference) []metav1.OwnerReference {
	controller := slices.IndexFunc(owners, func(o metav1.OwnerReference) bool { return o.Controller != nil && *o.Controller })
	var kept []metav1.OwnerReference
	for i, owner := range owners {
		if i != controller && len(kept) >= maxCachedOwners {
			continue
		}
		owner.APIVersion, owner.Kind, owner.Name = stripValue(owner.APIVersion), stripValue(owner.Kind), stripValue(owner.Name)
		if len(owner.UID) > maxCachedValue {
			owner.UID = "" // no object has such a uid
		}
		kept = append(kept, owner)
	}
	return kept
}

// EqualConfigMaps reports whether two ConfigMaps are the same as far as the caches show them.
func EqualConfigMaps(a, b *corev1.ConfigMap) bool {
	return maps.Equal(Only(a.Data, cachedEntries), Only(b.Data, cachedEntries)) &&
		maps.Equal(Only(a.Labels, Labels), Only(b.Labels, Labels)) &&
		slices.EqualFunc(StrippedOwners(a.OwnerReferences), StrippedOwners(b.OwnerReferences), EqualOwners)
}

// EqualOwners reports whether two owner references are the same.
func EqualOwners(a, b metav1.OwnerReference) bool {
	same := func(a, b *bool) bool { return (a != nil && *a) == (b != nil && *b) }
	return a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Name == b.Name && a.UID == b.UID &&
		same(a.Controller, b.Controller) && same(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}
