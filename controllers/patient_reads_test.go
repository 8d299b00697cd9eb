// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

// TestANamespaceThatCannotBeReadCountsAsEmptyUntilItCan: how namespaces come to be served is tested with the built manager,
// in test/install.
func TestANamespaceThatCannotBeReadCountsAsEmptyUntilItCan(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no"))
	broken := apierrors.NewInternalError(errors.New("etcd is away"))
	type read struct {
		err    error
		stream bool
	}
	for name, test := range map[string]struct {
		before []read
		answer error
		want   error
	}{
		"refused at first":               {nil, forbidden, nil},
		"refused again and again":        {[]read{{forbidden, true}, {forbidden, false}}, forbidden, nil},
		"broken at first":                {nil, broken, broken},
		"broken after a refusal":         {[]read{{forbidden, false}}, broken, broken},
		"refused after it was listed":    {[]read{{nil, false}}, forbidden, forbidden},
		"refused after it was streamed":  {[]read{{forbidden, true}, {nil, true}}, forbidden, forbidden},
		"refused, listed, refused again": {[]read{{forbidden, false}, {nil, false}, {forbidden, true}}, forbidden, forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var answer error
			reads := &toolscache.ListWatch{
				ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
					return &corev1.SecretList{Items: make([]corev1.Secret, 1)}, answer
				},
				WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
					return watch.NewFake(), answer
				},
			}
			patient := &patientReads{ListerWatcher: reads, reads: reads}
			for _, earlier := range test.before {
				answer = earlier.err
				if earlier.stream {
					_, err := patient.WatchWithContext(t.Context(), metav1.ListOptions{})
					if !errors.Is(err, answer) {
						t.Fatalf("a stream that ends in %v is answered with %v", answer, err)
					}
				} else {
					_, _ = patient.ListWithContext(t.Context(), metav1.ListOptions{})
				}
			}
			answer = test.answer
			list, err := patient.ListWithContext(t.Context(), metav1.ListOptions{})
			if !errors.Is(err, test.want) {
				t.Fatalf("the error is %v, want %v", err, test.want)
			}
			if items, err := apimeta.ExtractList(list); test.want == nil && (err != nil || len(items) != 0) {
				t.Errorf("%d items, %v: want an empty list", len(items), err)
			}
		})
	}
}
