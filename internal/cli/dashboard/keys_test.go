// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
)

// TestFollow_ReportsWhyKeysCannotBeRead, without words of a library, until they can be read.
func TestFollow_ReportsWhyKeysCannotBeRead(t *testing.T) {
	allowed := make(chan struct{})
	source := &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			select {
			case <-allowed:
				return &v1alpha1.DGbotAPIKeyList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: []v1alpha1.DGbotAPIKey{*clitest.Healthy("web")}}, nil
			default:
				return nil, apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("dgbotapikeys").GroupResource(), "", nil)
			}
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil },
	}
	informer := cache.NewSharedInformer(cache.ToListWatcherWithWatchListSemantics(source, noWatchList{}), &v1alpha1.DGbotAPIKey{}, 0)
	f, err := follow(informer)
	if err != nil {
		t.Fatal(err)
	}
	change := f.changed()
	go informer.RunWithContext(t.Context())
	<-change
	if err := f.failure(); err == nil || strings.Contains(err.Error(), "v1alpha1") || !apierrors.IsForbidden(err) {
		t.Errorf("the failure is %v", err)
	}
	close(allowed)
	for change = f.changed(); f.failure() != nil; change = f.changed() {
		<-change
	}
	if keys := f.list(); len(keys) != 1 || keys[0].Name != "web" {
		t.Errorf("keys %v", keys)
	}
}

// noWatchList is a client that lists before it watches.
type noWatchList struct{}

func (noWatchList) IsWatchListSemanticsUnSupported() bool { return true }
