// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/internal/registration"
)

// largeMetadata is metadata as a user can make it: all that the operator reads, each value and each list far too large.
func largeMetadata() metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: "large", Namespace: "support", UID: "uid", ResourceVersion: "7", Labels: map[string]string{}, Annotations: map[string]string{}}
	huge := strings.Repeat("x", 200_000)
	for i := range 5_000 {
		m.Labels[fmt.Sprintf("label-%d", i)] = "value"
		m.Annotations[fmt.Sprintf("keys.dgbot.io/annotation-%d", i)] = "value"
		m.Finalizers = append(m.Finalizers, fmt.Sprintf("example.com/%d", i))
		m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: "n", UID: "u"})
	}
	for _, name := range Annotations {
		m.Annotations[name] = huge
	}
	for _, name := range Labels {
		m.Labels[name] = "uid"
	}
	m.OwnerReferences = append(m.OwnerReferences,
		metav1.OwnerReference{APIVersion: huge, Kind: huge, Name: huge, UID: types.UID(huge)},
		metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: "crm", UID: "owner", Controller: new(true)})
	m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(huge)}}
	return m
}

func TestStripForCache_BoundsWhatUsersCanSize(t *testing.T) {
	huge := strings.Repeat("x", 200_000)
	data := map[string]string{"other": strings.Repeat("x", 500_000)}
	for _, name := range cachedEntries {
		data[name] = strings.Repeat("y", 50_000)
	}
	for name, object := range map[string]client.Object{
		"ConfigMap": &corev1.ConfigMap{ObjectMeta: largeMetadata(), Data: data, BinaryData: map[string][]byte{"b": make([]byte, 100_000)}},
		"Secret":    &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "Secret"}, ObjectMeta: largeMetadata()},
		"DGbotAPIKey": &v1alpha1.DGbotAPIKey{ObjectMeta: largeMetadata(), Spec: v1alpha1.DGbotAPIKeySpec{
			Secret: &v1alpha1.SecretSpec{Template: largeTemplate()},
		}},
		"DGbotAPIKeyRecord": &v1alpha1.DGbotAPIKeyRecord{ObjectMeta: largeMetadata()},
		"DGbotChatbot": &v1alpha1.DGbotChatbot{ObjectMeta: largeMetadata(), Spec: v1alpha1.DGbotChatbotSpec{
			IdentityVerification: &v1alpha1.IdentityVerification{Secret: &v1alpha1.IdentitySecretSpec{Template: largeTemplate()}},
		}},
		"DGbotEnvironment": &v1alpha1.DGbotEnvironment{ObjectMeta: largeMetadata()},
		"Namespace":        &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "Namespace"}, ObjectMeta: largeMetadata()},
		"Lease": &coordinationv1.Lease{ObjectMeta: largeMetadata(), Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &huge, PreferredHolder: &huge, Strategy: (*coordinationv1.CoordinatedLeaseStrategy)(&huge),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			stripped, err := Strip(object)
			if err != nil || stripped != any(object) {
				t.Fatalf("the result is another object, or %v", err)
			}
			text, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > 4096 {
				t.Errorf("%d bytes are cached, want at most 4096", len(text))
			}
			controller := metav1.GetControllerOfNoCopy(object)
			if controller == nil || controller.UID != "owner" || object.GetUID() != "uid" || object.GetResourceVersion() != "7" {
				t.Errorf("lost what identifies the object: controller %v, uid %s, version %s", controller, object.GetUID(), object.GetResourceVersion())
			}
		})
	}
}

// largeTemplate is near the most that policy dgbot-sizes accepts.
func largeTemplate() *v1alpha1.SecretTemplate {
	template := &v1alpha1.SecretTemplate{Annotations: map[string]v1alpha1.AnnotationValue{}}
	for i := range 30 {
		template.Annotations[fmt.Sprintf("example.com/%d", i)] = v1alpha1.AnnotationValue(strings.Repeat("x", 1000))
	}
	return template
}

// TestCachedTemplate_StaysComparable: a template from the cache equals the one that was read live once both are stripped.
func TestCachedTemplate_StaysComparable(t *testing.T) {
	small := &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.LabelValue{"team": "support"}}
	if got := Template(small); !reflect.DeepEqual(got, small) {
		t.Errorf("a small template is cached as %+v", got)
	}
	large, other := largeTemplate(), largeTemplate()
	other.Annotations["example.com/0"] = "y"
	once := Template(large)
	if !reflect.DeepEqual(Template(once), once) || !reflect.DeepEqual(Template(largeTemplate()), once) {
		t.Error("equal templates are not cached as equal ones")
	}
	if reflect.DeepEqual(Template(other), once) {
		t.Error("different templates are cached as equal ones")
	}
}

// TestStripForCache_KeepsWhatIsRead: values of ordinary length stay, and so do the labels of a namespace, which selectors name.
func TestStripForCache_KeepsWhatIsRead(t *testing.T) {
	configMap := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.ChatbotLabel: "uid", "app": "crm"}},
		Data:       map[string]string{reservation.EntryChatbotID: "cb_1", reservation.EntryNamespace: "support", reservation.EntryName: "bot", reservation.EntryUID: "uid"},
	}
	want := maps.Clone(configMap.Data)
	namespace := read.Metadata("Namespace")
	namespace.Labels = map[string]string{"team": "support"}
	chatbot := read.Metadata("Secret")
	holder := strings.Repeat("n", 63) + "/" + strings.Repeat("b", 253)
	chatbot.Annotations = map[string]string{v1alpha1.ChatbotHolderAnnotation: holder, "other": "x"}
	for _, object := range []any{configMap, namespace, chatbot, toolscache.DeletedFinalStateUnknown{Key: "a/b"}} {
		if _, err := Strip(object); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(configMap.Data, want) || !maps.Equal(configMap.Labels, map[string]string{v1alpha1.ChatbotLabel: "uid"}) {
		t.Errorf("the ConfigMap has data %v and labels %v", configMap.Data, configMap.Labels)
	}
	if namespace.Labels["team"] != "support" {
		t.Error("a namespace lost its labels")
	}
	if !maps.Equal(chatbot.Annotations, map[string]string{v1alpha1.ChatbotHolderAnnotation: holder}) {
		t.Errorf("the replica has the annotations %v", chatbot.Annotations)
	}
}

// TestStripForCache_KeepsRegistrations: package registration reads from the cache what the verifier wrote.
func TestStripForCache_KeepsRegistrations(t *testing.T) {
	observed := map[registration.Watch]string{{}: "48213"}
	for i := range 300 { // more than 512 characters, and less than 64 KiB
		observed[registration.Watch{Namespace: fmt.Sprintf("team-%d", i), Environment: "production"}] = "48213"
	}
	said := registration.Registration{
		Observed: observed, MaxStaleness: 2 * time.Minute, RegisteredBy: "system:serviceaccount:dgbot-system:dgbot-verifier", Stopped: true,
	}
	renewed := metav1.NewMicroTime(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}}
	said.Annotate(lease, renewed.Time)
	lease.Labels["app"], lease.Annotations["other"] = "crm", "x"
	for pass := range 2 { // a list is stripped page by page, and then by the informer
		if _, err := Strip(lease); err != nil {
			t.Fatal(err)
		}
		if got := registration.Of(lease); !reflect.DeepEqual(got, said) || !registration.IsLease(lease) || !lease.Spec.RenewTime.Equal(&renewed) {
			t.Errorf("pass %d: the cached Lease says %+v", pass, got)
		}
		if len(lease.Labels) != 1 || len(lease.Annotations) != 5 {
			t.Errorf("pass %d: labels %v, annotations %v", pass, lease.Labels, lease.Annotations)
		}
	}
}

// TestStripForCache_BoundsRegistrations: a text that exceeds the limit is not cached, and makes nothing of the verifier look better.
func TestStripForCache_BoundsRegistrations(t *testing.T) {
	parts := make([]string, 0, 5_000)
	for i := range cap(parts) {
		parts = append(parts, fmt.Sprintf("namespace-%d/production=48213", i))
	}
	lease := &coordinationv1.Lease{ObjectMeta: largeMetadata()}
	lease.Labels[v1alpha1.VerifierLabel] = "true"
	for _, name := range registrationAnnotations {
		lease.Annotations[name] = strings.Repeat("x", 200_000)
	}
	lease.Annotations[v1alpha1.ObservedVersionsAnnotation] = strings.Join(parts, ",")
	if _, err := Strip(lease); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(lease)
	if err != nil {
		t.Fatal(err)
	}
	r := registration.Of(lease)
	if len(text) > 4096 || !registration.IsLease(lease) || !r.InScope("support", "production") || r.ObservedOf("support", "production") != "" || !r.Serves {
		t.Errorf("%d bytes are cached, which say %+v", len(text), r)
	}
	ordinary := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.ObservedVersionsAnnotation: "*/*=7"}}}
	if _, err := Strip(ordinary); err != nil || len(ordinary.Annotations) != 0 {
		t.Errorf("a Lease without the label keeps %v (%v)", ordinary.Annotations, err)
	}
}

// TestSelectsNamespace_SelectsNoneWithTooManyLabels: the answer is the same for the Namespace and for what the cache has of it.
func TestSelectsNamespace_SelectsNoneWithTooManyLabels(t *testing.T) {
	for n, want := range map[int]bool{1: true, 200: true, 400: false, 20_000: false} {
		namespace := read.Metadata("Namespace")
		namespace.Labels = map[string]string{"tier": "production"}
		for i := range n {
			namespace.Labels[fmt.Sprintf("example.com/label-%05d", i)] = strings.Repeat("x", 40)
		}
		cached := namespace.DeepCopy()
		if _, err := Strip(cached); err != nil {
			t.Fatal(err)
		}
		for text, named := range map[string]bool{"tier=production": true, "tier notin (test)": true, "!other": true, "": true, "tier=test": false} {
			selector, err := labels.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if live, stripped := SelectsNamespace(selector, namespace.Labels), SelectsNamespace(selector, cached.Labels); live != (want && named) || stripped != live {
				t.Errorf("%q selects a namespace with %d labels: %t read live, %t from the cache, want %t", text, n, live, stripped, want && named)
			}
		}
	}
}

func TestStripValue_TellsValuesApart(t *testing.T) {
	long := strings.Repeat("x", maxCachedValue+1)
	if stripValue(long) != stripValue(strings.Clone(long)) || stripValue(long) == stripValue(long+"y") || len(stripValue(long)) > maxCachedValue {
		t.Error("long values are not told apart by their hashes")
	}
	if stripValue(long[1:]) != long[1:] || stripValue(stripValue(long)) != stripValue(long) {
		t.Error("a value of permitted length changed")
	}
}

// TestCachedNames_CoverAllNames: a label or annotation of this API is cached on all objects or on the Leases of verifiers, or listed
// here because it is only read live.
func TestCachedNames_CoverAllNames(t *testing.T) {
	elsewhere := slices.Concat(registrationAnnotations, []string{
		v1alpha1.VerifierLabel, v1alpha1.ObservedVersionsAnnotation, // keepRegistration keeps these on Leases alone
		v1alpha1.AbandonedAnnotation, v1alpha1.RevisionAnnotation, v1alpha1.TemplateAnnotation, // read live
	})
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "..", "api", "v1alpha1", "names.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		name := spec.Names[0].Name
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || !strings.HasSuffix(name, "Annotation") && !strings.HasSuffix(name, "Label") {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if !slices.Contains(slices.Concat(elsewhere, Annotations, Labels), value) {
			t.Errorf("%s (%s) would be missing from every cached object: add it to Annotations or Labels, or here", name, value)
		}
		return true
	})
	if found < 12 {
		t.Errorf("found %d names in names.go, want at least 12", found)
	}
}
