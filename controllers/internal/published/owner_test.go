// SPDX-License-Identifier: Apache-2.0

package published

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
)

// ownerStore returns a store with the key support/crm if it has a uid, and counts the requests to it. Each answer is the error, if there is one.
func ownerStore(t *testing.T, uid types.UID, answer error, requests *int) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme)
	if uid != "" {
		builder = builder.WithObjects(&v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "crm", UID: uid}})
	}
	return builder.WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			*requests++
			if answer != nil {
				return answer
			}
			return c.Get(ctx, name, into, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, into client.ObjectList, options ...client.ListOption) error {
			*requests++
			if answer != nil {
				return answer
			}
			return c.List(ctx, into, options...)
		},
	}).Build()
}

// TestMayExist_OnlyTheAPIServerReportsAnOwnerGone: an object of an existing owner is never taken over, however little can be read.
func TestMayExist_OnlyTheAPIServerReportsAnOwnerGone(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "dgbotapikeys"}, "crm", errors.New("no right"))
	lost := errors.New("connection lost")
	const uid = "owner"
	for name, test := range map[string]struct {
		cached, live          types.UID
		cacheFails, liveFails error
		// at is the place that the object names, in the namespace of the object.
		at, in string
		want   bool
		fails  bool
		asks   bool
	}{
		"the cache has it":                       {uid, "", nil, nil, "support/crm", "support", true, false, false},
		"only the API server has it":             {"", uid, nil, nil, "support/crm", "support", true, false, true},
		"neither has it":                         {"", "", nil, nil, "support/crm", "support", false, false, true},
		"another of the name":                    {"another", "another", nil, nil, "support/crm", "support", false, false, true},
		"a wrong place, and the cache has it":    {uid, "", nil, nil, "support/wrong", "support", true, false, true},
		"no place, and the cache has it":         {uid, "", nil, nil, "", "support", true, false, false},
		"no place, and the API server has it":    {"", uid, nil, nil, "", "support", true, false, true},
		"no place, and neither has it":           {"", "", nil, nil, "", "support", false, false, true},
		"the cache fails, the API server not":    {"", uid, lost, nil, "support/crm", "support", true, false, true},
		"the API server fails":                   {"", "", nil, lost, "support/crm", "support", false, true, true},
		"no right in another namespace":          {"", "", nil, forbidden, "support/crm", "elsewhere", true, false, true},
		"no right in its own namespace":          {"", "", nil, forbidden, "support/crm", "support", false, true, true},
		"no right to list all namespaces":        {"", "", nil, forbidden, "", "support", true, false, true},
		"no right to list all keys in the cache": {"", "", forbidden, nil, "support/crm", "support", false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			object := read.Metadata("Secret")
			object.Namespace = test.in
			if test.at != "" {
				object.Annotations = map[string]string{v1alpha1.OwnerAnnotation: test.at}
			}
			cacheReads, liveReads := 0, 0
			var gone GoneOwners
			may := func() (bool, error) {
				return KeyOwner.MayExist(t.Context(), &gone,
					ownerStore(t, test.cached, test.cacheFails, &cacheReads), ownerStore(t, test.live, test.liveFails, &liveReads), object, uid)
			}
			got, err := may()
			if got != test.want || (err != nil) != test.fails || liveReads > 0 != test.asks {
				t.Errorf("may exist: %t, %v, after %d requests to the API server; want %t, a failure: %t, requests: %t", got, err, liveReads, test.want, test.fails, test.asks)
			}
			before := liveReads
			again, err := may()
			if again != got || (err != nil) != test.fails {
				t.Errorf("the second answer is %t, %v; the first was %t", again, err, got)
			}
			if isGone := !test.want && !test.fails; isGone != (liveReads == before && test.asks) {
				t.Errorf("%d requests to the API server for the second answer, although the owner is gone: %t", liveReads-before, isGone)
			}
		})
	}
}

// TestGoneOwners_ForgetsRatherThanGrows: any user can make objects that name owners that never were.
func TestGoneOwners_ForgetsRatherThanGrows(t *testing.T) {
	var gone GoneOwners
	for i := range 3 * maxGone {
		owner := goneOwner{types.UID(strconv.Itoa(i)), "support/crm"}
		gone.add(owner)
		if !gone.has(owner) || gone.has(goneOwner{owner.uid, "support/other"}) {
			t.Fatalf("owner %d is not remembered, or is elsewhere as well", i)
		}
		if len(gone.gone) > maxGone {
			t.Fatalf("%d owners are remembered, at most %d", len(gone.gone), maxGone)
		}
	}
}

func TestHasOtherOwner_SeesOwnersThatKeepTheObject(t *testing.T) {
	key := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: "crm", UID: "gone"}
	configMap := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: "c"}
	sameUID := configMap
	sameUID.UID = "gone"
	for name, test := range map[string]struct {
		owners []metav1.OwnerReference
		want   bool
	}{
		"none":                       {nil, false},
		"the one that is gone":       {[]metav1.OwnerReference{key}, false},
		"a ConfigMap beside it":      {[]metav1.OwnerReference{key, configMap}, true},
		"its uid under another kind": {[]metav1.OwnerReference{sameUID}, true},
		"only another":               {[]metav1.OwnerReference{configMap}, true},
	} {
		secret := read.Metadata("Secret")
		secret.OwnerReferences = test.owners
		if got := HasOtherOwner(secret, "gone", KeyOwner); got != test.want {
			t.Errorf("%s: another owner: %t, want %t", name, got, test.want)
		}
	}
}

func TestSetOwner_KeepsOtherOwnersAndTheirOrder(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "crm", UID: "key"}}
	reference := func(uid types.UID) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: uid}
	}
	for name, test := range map[string]struct {
		owners []metav1.OwnerReference
		want   string
	}{
		"none":                                {nil, "key"},
		"others":                              {[]metav1.OwnerReference{reference("a"), reference("b")}, "a b key"},
		"its own, altered, between others":    {[]metav1.OwnerReference{reference("a"), reference("key"), reference("b")}, "a key b"},
		"its own twice, with another between": {[]metav1.OwnerReference{reference("key"), reference("a"), reference("key")}, "key a"},
	} {
		secret := read.Metadata("Secret")
		secret.OwnerReferences = test.owners
		for range 2 { // the second time changes nothing
			SetOwner(secret, key, v1alpha1.APIKeyKind)
			var uids []string
			for _, owner := range secret.OwnerReferences {
				uids = append(uids, string(owner.UID))
			}
			controller := metav1.GetControllerOfNoCopy(secret)
			if got := strings.Join(uids, " "); got != test.want || controller == nil || controller.UID != "key" || controller.Kind != v1alpha1.APIKeyKind {
				t.Errorf("%s: owners %s and controller %v, want %s and the key", name, got, controller, test.want)
			}
		}
	}
}
