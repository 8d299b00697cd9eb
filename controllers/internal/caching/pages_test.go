// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
)

func TestPagedLists_ReadsPages(t *testing.T) {
	const size, all = 16, 50
	var asked []metav1.ListOptions
	var failure error
	source := &toolscache.ListWatch{ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
		asked = append(asked, options)
		from := 0
		if options.Continue != "" {
			from, _ = strconv.Atoi(options.Continue)
			if failure != nil {
				return nil, failure
			}
		}
		list := &corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "9"}}
		for i := from; i < min(from+int(options.Limit), all); i++ {
			list.Items = append(list.Items, corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: strconv.Itoa(i)}, Data: map[string]string{"large": strings.Repeat("x", 1000)}})
		}
		if next := from + len(list.Items); next < all {
			list.Continue = strconv.Itoa(next)
		}
		return list, nil
	}}
	pages := &pagedLists{ListerWatcher: source, source: toolscache.ToListerWatcherWithContext(source), size: size}
	list, err := pages.ListWithContext(t.Context(), metav1.ListOptions{ResourceVersion: "0", Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	configMaps, ok := list.(*corev1.ConfigMapList)
	if !ok || len(configMaps.Items) != all || configMaps.ResourceVersion != "9" || configMaps.Continue != "" {
		t.Fatalf("the list is %T with %d of %d objects, version and continue token %v", list, apimeta.LenList(list), all, list.(metav1.ListMetaAccessor).GetListMeta())
	}
	for i := range configMaps.Items {
		if len(configMaps.Items[i].Data) > 0 || configMaps.Items[i].Name != strconv.Itoa(i) {
			t.Fatalf("object %d is %v, want it stripped and in its place", i, configMaps.Items[i])
		}
	}
	for i, options := range asked {
		if options.Limit != size || options.ResourceVersion != "" {
			t.Errorf("page %d was asked for with %+v, want a limit of %d and no version", i, options, size)
		}
	}
	failure = errors.New("the continue token expired")
	if _, err := pages.ListWithContext(t.Context(), metav1.ListOptions{}); !errors.Is(err, failure) {
		t.Errorf("a page failed, and the list ends with %v", err)
	}
}
