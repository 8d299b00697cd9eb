// SPDX-License-Identifier: Apache-2.0

//go:build soak

package storm

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestStorm(t *testing.T) {
	s := newStorm(t)
	s.rage()
	s.settle()
	s.judge(s.from, s.tick())
	// The next storm has the control plane to itself.
	for _, namespace := range s.namespaces {
		must(t, admin.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	}
}
