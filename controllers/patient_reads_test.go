// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
)

var (
	secretKind = corev1.SchemeGroupVersion.WithKind("Secret")
	errDecrypt = apierrors.NewInternalError(errors.New(`unable to transform key "/registry/secrets/support/crm": KMS is down`))
	errNoRight = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no"))
)

// TestPatientReads_CountAsEmptyUntilListed: how namespaces come to be served is tested with the built manager, in test/install.
func TestPatientReads_CountAsEmptyUntilListed(t *testing.T) {
	for name, test := range map[string]struct {
		before       []error
		answer, want error
	}{
		"refused at first":               {nil, errNoRight, nil},
		"refused again and again":        {[]error{errNoRight, errNoRight}, errNoRight, nil},
		"broken at first":                {nil, errDecrypt, nil},
		"broken after a refusal":         {[]error{errNoRight}, errDecrypt, nil},
		"refused after it was listed":    {[]error{nil}, errNoRight, errNoRight},
		"broken after it was listed":     {[]error{errDecrypt, nil}, errDecrypt, errDecrypt},
		"refused, listed, refused again": {[]error{errNoRight, nil, errNoRight}, errNoRight, errNoRight},
	} {
		t.Run(name, func(t *testing.T) {
			var answer error
			reads := &toolscache.ListWatch{
				ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
					return &corev1.SecretList{Items: make([]corev1.Secret, 1)}, answer
				},
			}
			patient := newPatientReads(reads, secretKind)
			for _, answer = range test.before {
				_, _ = patient.ListWithContext(t.Context(), metav1.ListOptions{})
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

// TestPatientReads_Stream: a list that the API server streams counts once its last event has come, and a stream that is rejected
// makes the informer list, whatever it is rejected with.
func TestPatientReads_Stream(t *testing.T) {
	source := watch.NewFake()
	var answer error
	reads := &toolscache.ListWatch{
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return source, answer },
	}
	patient := newPatientReads(reads, secretKind)
	initial := metav1.ListOptions{SendInitialEvents: new(true)}

	answer = apierrors.NewTooManyRequests("storage is (re)initializing", 1)
	if _, err := patient.WatchWithContext(t.Context(), initial); err == nil || apierrors.IsTooManyRequests(err) {
		t.Errorf("the error is %v: the informer would repeat the stream for good", err)
	}
	if _, err := patient.WatchWithContext(t.Context(), metav1.ListOptions{}); err == nil || apierrors.IsTooManyRequests(err) {
		t.Errorf("the error is %v, want one without a type: the informer would repeat the watch for good and never list", err)
	}
	answer = nil
	stream, err := patient.WatchWithContext(t.Context(), initial)
	if err != nil {
		t.Fatal(err)
	}
	go source.Add(&corev1.Secret{})
	<-stream.ResultChan()
	if patient.unfilled() == nil {
		t.Error("a stream counts as a list before its last event")
	}
	end := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
	go source.Action(watch.Bookmark, end)
	<-stream.ResultChan()
	if failure := patient.unfilled(); failure != nil {
		t.Errorf("the stream is complete, and the cache is said not to be filled: %v", failure)
	}
}

// TestPatientReads_LogsTheResourceAndTheError: at once, and again when asked to.
func TestPatientReads_LogsTheResourceAndTheError(t *testing.T) {
	var lines []string
	ctx := ctrl.LoggerInto(t.Context(), funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{}))
	reads := &toolscache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) { return nil, errDecrypt },
	}
	patient := newPatientReads(reads, secretKind)
	for range 3 {
		_, _ = patient.ListWithContext(ctx, metav1.ListOptions{})
	}
	if len(lines) != 1 || !strings.Contains(lines[0], `"resource"="secrets"`) || !strings.Contains(lines[0], "KMS is down") {
		t.Errorf("three failures are logged as %q", lines)
	}
	patient.logAgain(ctx)
	if len(lines) != 2 {
		t.Errorf("a failure that lasts is logged as %q", lines)
	}
	patient.succeeded(ctx)
	patient.logAgain(ctx)
	if len(lines) != 3 || !strings.Contains(lines[2], "can be read again") {
		t.Errorf("its end is logged as %q", lines)
	}
}

// TestCaches_InformerSyncsWithoutItsObjects: controllers start, the resource is named where it matters, and its objects are read
// from the API server.
func TestCaches_InformerSyncsWithoutItsObjects(t *testing.T) {
	forbiddenLease := apierrors.NewForbidden(schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, "", nil)
	for name, test := range map[string]struct {
		kind       string
		group      string
		failure    error
		namespaced bool
		ready      bool
		getLive    bool
		listLive   bool
	}{
		"undecryptable Secrets":             {kind: "Secret", failure: errDecrypt, getLive: true, listLive: true},
		"forbidden Secrets":                 {kind: "Secret", failure: errNoRight, getLive: true, listLive: true},
		"one namespace of several":          {kind: "Secret", failure: errNoRight, namespaced: true, ready: true, getLive: true},
		"undecryptable in a namespace":      {kind: "Secret", failure: errDecrypt, namespaced: true, getLive: true, listLive: true},
		"Leases that may not be read":       {kind: "Lease", group: "coordination.k8s.io", failure: forbiddenLease, ready: true},
		"Leases that cannot be read":        {kind: "Lease", group: "coordination.k8s.io", failure: errDecrypt, getLive: true, listLive: true},
		"keys":                              {kind: "DGbotAPIKey", group: "keys.dgbot.io", failure: errDecrypt, getLive: true, listLive: true},
		"environments":                      {kind: "DGbotEnvironment", group: "keys.dgbot.io", failure: errNoRight, getLive: true, listLive: true},
		"chatbots in a namespace of others": {kind: "DGbotChatbot", group: "keys.dgbot.io", failure: errNoRight, namespaced: true, ready: true, getLive: true},
	} {
		t.Run(name, func(t *testing.T) {
			kind := schema.GroupVersionKind{Group: test.group, Version: "v1", Kind: test.kind}
			if test.group == v1alpha1.GroupVersion.Group {
				kind.Version = v1alpha1.GroupVersion.Version
			}
			example := &metav1.PartialObjectMetadata{}
			example.SetGroupVersionKind(kind)
			var typed runtime.Object = example
			if object, err := live.Scheme().New(kind); err == nil && test.kind == "Lease" {
				typed = object
			}
			listed := make(chan struct{}, 100)
			reads := &toolscache.ListWatch{
				ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
					listed <- struct{}{}
					return nil, test.failure
				},
				WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return nil, test.failure },
			}
			all := &caches{scheme: live.Scheme(), namespaced: test.namespaced}
			informer := all.newInformer(reads, typed, 0, toolscache.Indexers{})
			go informer.RunWithContext(t.Context())
			for range 2 { // once it is listed again, the first answer has been taken in
				<-listed
			}
			if !informer.HasSynced() {
				t.Error("the informer has not synced: controllers would wait for it")
			}
			if err := all.check(kind.GroupKind()); (err == nil) != test.ready {
				t.Errorf("the readiness check answers %v", err)
			}
			fromCache, fromLive := countingReads(), countingReads()
			cached := &cachedClient{Client: fromCache.client, live: fromLive.client, caches: all}
			list := &metav1.PartialObjectMetadataList{}
			list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
			_ = cached.Get(t.Context(), types.NamespacedName{Namespace: "support", Name: "crm"}, example)
			_ = cached.List(t.Context(), list)
			if got := fromLive.gets == 1; got != test.getLive {
				t.Errorf("a missing object was read from the API server: %v, want %v", got, test.getLive)
			}
			if got := fromLive.lists == 1; got != test.listLive {
				t.Errorf("the list was read from the API server: %v, want %v", got, test.listLive)
			}
		})
	}
}

// countedReads is a client that has no objects, and counts how often it was asked.
type countedReads struct {
	client      client.Client
	gets, lists int
}

func countingReads() *countedReads {
	c := &countedReads{}
	c.client = interceptor.NewClient(live, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, name client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			c.gets++
			return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			c.lists++
			return nil
		},
	})
	return c
}
