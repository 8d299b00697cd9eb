// SPDX-License-Identifier: Apache-2.0

package published

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

// SetOwner makes an object of one of this API's kinds the controller of an object that is published for it. Other owners stay.
func SetOwner(published metav1.Object, owner metav1.Object, kind string) {
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

// OwnerText returns the value of OwnerAnnotation for an owner.
func OwnerText(owner metav1.Object) string { return owner.GetNamespace() + "/" + owner.GetName() }

// SetEntries sets the entries that the operator owns in a Secret. It removes an owned entry without a value. It sets no entry that is not
// in the list: only entries in the list are reserved and watched for drift.
func SetEntries(secret *corev1.Secret, owned []string, values map[string][]byte) {
	for _, name := range owned {
		delete(secret.Data, name)
		if value, ok := values[name]; ok {
			secret.Data[name] = value
		}
	}
}

// Dress gives a Secret all that the operator publishes for any owner, except the entries. Metadata that users add stays.
func Dress(secret *corev1.Secret, object metav1.Object, owner OwnerKind, wanted *v1alpha1.SecretTemplate, revision int64) {
	SetOwner(secret, object, owner.kind)
	secret.Type = corev1.SecretTypeOpaque

	template := v1alpha1.SecretTemplate{}
	if wanted != nil {
		template = effective.WithoutExports(*wanted)
	}
	formerly := readTemplateNote(secret.Annotations)
	secret.Labels = overlay(secret.Labels, formerly.Labels, template.Labels)
	secret.Annotations = overlay(secret.Annotations, formerly.Annotations, template.Annotations)
	writeTemplateNote(secret.Annotations, template)

	secret.Labels[owner.label] = string(object.GetUID())
	secret.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedBy
	secret.Annotations[v1alpha1.OwnerAnnotation] = OwnerText(object)
	secret.Annotations[v1alpha1.RevisionAnnotation] = strconv.FormatInt(revision, 10)
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
}

// templateNote is the value of TemplateAnnotation.
type templateNote struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

func readTemplateNote(annotations map[string]string) templateNote {
	var note templateNote
	// If the annotation was edited and cannot be read, nothing is removed.
	_ = json.Unmarshal([]byte(annotations[v1alpha1.TemplateAnnotation]), &note)
	return note
}

func writeTemplateNote(annotations map[string]string, template v1alpha1.SecretTemplate) {
	delete(annotations, v1alpha1.TemplateAnnotation)
	note := templateNote{Labels: slices.Sorted(maps.Keys(template.Labels)), Annotations: slices.Sorted(maps.Keys(template.Annotations))}
	if len(note.Labels)+len(note.Annotations) == 0 {
		return
	}
	if text, err := json.Marshal(note); err == nil {
		annotations[v1alpha1.TemplateAnnotation] = string(text)
	}
}

// overlay removes what an earlier template set and sets the values of the current one.
func overlay[V ~string](present map[string]string, formerly []string, template map[string]V) map[string]string {
	result := map[string]string{}
	maps.Copy(result, present)
	for _, name := range formerly {
		delete(result, name)
	}
	for name, value := range template {
		result[name] = string(value)
	}
	return result
}
