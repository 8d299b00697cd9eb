// SPDX-License-Identifier: Apache-2.0

package effective

import (
	"maps"
	"regexp"
	"slices"

	"dgbot.io/key-operator/api/v1alpha1"
)

var exporting = regexp.MustCompile(v1alpha1.ExportingNames)

// WithoutExports returns a template without the labels and annotations by which replicators copy a Secret to other namespaces. A user
// who may edit a key, and not read Secrets, could otherwise have the key copied to where he reads it. The API server rejects them in
// new templates; objects from before that rule keep them.
func WithoutExports(template v1alpha1.SecretTemplate) v1alpha1.SecretTemplate {
	template.Labels, template.Annotations = maps.Clone(template.Labels), maps.Clone(template.Annotations)
	maps.DeleteFunc(template.Labels, func(name string, _ v1alpha1.LabelValue) bool { return exporting.MatchString(name) })
	maps.DeleteFunc(template.Annotations, func(name string, _ v1alpha1.AnnotationValue) bool { return exporting.MatchString(name) })
	return template
}

// checkTemplate notes the labels and annotations that WithoutExports leaves out.
func (e *Spec) checkTemplate() {
	secret := e.Wants.secret
	if secret == nil || secret.Template == nil {
		return
	}
	names := slices.Sorted(maps.Keys(secret.Template.Labels))
	names = slices.AppendSeq(names, slices.Values(slices.Sorted(maps.Keys(secret.Template.Annotations))))
	for _, name := range names {
		if exporting.MatchString(name) {
			e.violate("spec.secret.template has %[1]q, with which a replicator copies the Secret, so the operator does not set %[1]q: remove %[1]q, or let a user who may write Secrets set %[1]q on the Secret", name)
		}
	}
}
