// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
)

const (
	rotateAt     = v1alpha1.RotateRequestedAtAnnotation
	revokeBefore = v1alpha1.RevokeIssuedBeforeAnnotation
	keptAt       = v1alpha1.KeptAtAnnotation
)

// own makes an object of a kind of ours.
func own(kind string, spec map[string]any, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	o.SetName("crm")
	for _, change := range changes {
		change(o)
	}
	return o
}

func apiKey(changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	return own(v1alpha1.APIKeyKind, map[string]any{"label": "CRM", "environment": "production"}, changes...)
}

func chatbot(changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	return own(v1alpha1.ChatbotKind, map[string]any{"displayName": "Support bot", "environment": "production"}, changes...)
}

func environment(changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	return own(v1alpha1.EnvironmentKind, map[string]any{}, changes...)
}

func named(name string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { o.SetName(name) }
}

func annotated(name, value string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		all := o.GetAnnotations()
		if all == nil {
			all = map[string]string{}
		}
		all[name] = value
		o.SetAnnotations(all)
	}
}

func labelled(name, value string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{name: value}) }
}

func inSpec(field string, value any) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) { _ = unstructured.SetNestedField(o.Object, value, "spec", field) }
}

// rejects compares a rejection with the sentence of a policy that is wanted; empty for none.
func (s said) rejects(t *testing.T, policy, want string) {
	t.Helper()
	sentence := ""
	if s.refusal != "" {
		_, sentence, _ = strings.Cut(s.refusal, fmt.Sprintf("ValidatingAdmissionPolicy '%[1]s' with binding '%[1]s' denied request: ", policy))
	}
	if sentence != want || s.refusal == "" != (want == "") {
		t.Errorf("rejected:\n%s\nwant:\n%s", s.refusal, want)
	}
}

// warns compares the warnings of dgbot-notices and dgbot-namespace-labels with the sentences wanted.
func (s said) warns(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, warning := range s.warnings {
		_, sentence, _ := strings.Cut(warning, "': ")
		got = append(got, sentence)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("warned:\n%s\nwant:\n%s", strings.Join(s.warnings, "\n"), strings.Join(want, "\n"))
	}
}

const (
	ofKeys     = `the annotations of a DGbotAPIKey are keys.dgbot.io/rotate-requested-at, keys.dgbot.io/revoke-issued-before, keys.dgbot.io/kept-at, such as `
	ofChatbots = `the annotations of a DGbotChatbot are keys.dgbot.io/rotate-requested-at, keys.dgbot.io/revoke-issued-before, such as `
	toRevoke   = `keys.dgbot.io/revoke-issued-before=$(date -u +%FT%TZ)`
	toRotate   = `keys.dgbot.io/rotate-requested-at=$(date -u +%FT%TZ)`
	noTime     = ` must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T10:00:00Z; "date -u +%FT%TZ" prints the current time`
)

func unknownAnnotation(name, names string) string {
	return `annotation "` + name + `" is unknown, and the operator would ignore it: ` + names
}

func TestRequests_RejectUnknownNames(t *testing.T) {
	for name, test := range map[string]struct {
		object *unstructured.Unstructured
		want   string
	}{
		"a misspelt revocation of a key":   {apiKey(annotated("keys.dgbot.io/revoke-issued-befor", "2026-01-01T00:00:00Z")), unknownAnnotation("keys.dgbot.io/revoke-issued-befor", ofKeys+toRevoke)},
		"a revocation in the field's case": {apiKey(annotated("keys.dgbot.io/revokeIssuedBefore", "2026-01-01T00:00:00Z")), unknownAnnotation("keys.dgbot.io/revokeIssuedBefore", ofKeys+toRevoke)},
		"a revocation under the product's spelling": {apiKey(annotated("keys.DGbot.io/revoke-issued-before", "2026-01-01T00:00:00Z")),
			unknownAnnotation("keys.DGbot.io/revoke-issued-before", ofKeys+toRevoke)},
		"a misspelt rotation of a chatbot": {chatbot(annotated("keys.dgbot.io/rotate", "2026-01-01T00:00:00Z")), unknownAnnotation("keys.dgbot.io/rotate", ofChatbots+toRotate)},
		"a chatbot that is kept":           {chatbot(annotated(keptAt, "2026-01-01T00:00:00Z")), unknownAnnotation(keptAt, ofChatbots+toRotate)},
		"a rotation of an environment": {environment(annotated(rotateAt, "2026-01-01T00:00:00Z")),
			unknownAnnotation(rotateAt, "a DGbotEnvironment has no annotations under keys.dgbot.io/")},
		"a request as a label of a key": {apiKey(labelled(revokeBefore, "now")),
			`label "keys.dgbot.io/revoke-issued-before" is unknown, and the operator would ignore it: a DGbotAPIKey has no labels under keys.dgbot.io/; ` + ofKeys + toRevoke},
		"a label of a Namespace on an environment": {environment(labelled(label, "deny")),
			`label "keys.dgbot.io/leaks" is unknown, and the operator would ignore it: a DGbotEnvironment has no labels under keys.dgbot.io/`},
	} {
		t.Run(name, func(t *testing.T) { mustCreate(t, ordinary, test.object).rejects(t, "dgbot-requests", test.want) })
	}
	for name, object := range map[string]*unstructured.Unstructured{
		"a key": apiKey(annotated(rotateAt, "2026-01-01T00:00:00Z"), annotated(revokeBefore, "2126-01-01T00:00:00+05:30"), annotated(keptAt, "2026-01-01T00:00:00Z"),
			annotated("example.org/keys.dgbot.io", "x"), annotated("keys.dgbot.io", "x"), labelled("app.kubernetes.io/part-of", "dgbot")),
		"a chatbot":      chatbot(annotated(rotateAt, "2026-01-01T00:00:00Z"), annotated(revokeBefore, "2026-01-01T00:00:00Z")),
		"an environment": environment(annotated("example.org/team", "crm"), labelled("team", "crm")),
	} {
		t.Run(name, func(t *testing.T) {
			got := mustCreate(t, ordinary, object)
			got.rejects(t, "", "")
			got.warns(t)
		})
	}
}

// TestRequests_AcceptWhatTheOperatorReads: of each value, the policy and the operator decide the same.
func TestRequests_AcceptWhatTheOperatorReads(t *testing.T) {
	for _, value := range []string{
		"2126-11-23T10:00:00Z", "2126-11-23T10:00:00+05:30", "2126-11-23T10:00:00-00:00", "1970-01-01T00:00:00Z", "8999-12-31T23:59:59Z", "2128-02-29T23:59:59+14:00",
		"9000-01-01T00:00:00+01:00", "8999-12-31T23:59:59-23:59", "1970-01-01T00:00:00+00:01", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59",
		"2126-11-23", "2126-11-23t10:00:00z", "2126-11-23T10:00:00.5Z", "2126-11-23 10:00:00Z", "2126-11-23T10:00:00", "2126-11-23T10:00Z", "2126-11-23T24:00:00Z",
		"2126-11-23T10:00:60Z", "2126-02-30T10:00:00Z", "2126-11-23T10:00:00+99:99", "2126-11-23T10:00:00+0100", " 2126-11-23T10:00:00Z", "2126-11-23T10:00:00Z\n",
		"", "now", "true", "4923072000", "2126-11-23T10:00:00X5Z", "２126-11-23T10:00:00Z",
	} {
		for _, name := range []string{rotateAt, revokeBefore, keptAt} {
			object := apiKey(annotated(name, value))
			key := &v1alpha1.DGbotAPIKey{}
			must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, key))
			want := ""
			for _, condition := range lifecycle.Plan(lifecycle.Observation{Key: key}, time.Now()).Status.Conditions {
				if condition.Type == v1alpha1.RequestInvalidCondition {
					want = "annotation " + name + noTime
				}
			}
			t.Run(name+"="+value, func(t *testing.T) { mustCreate(t, ordinary, object).rejects(t, "dgbot-requests", want) })
		}
	}
	both := chatbot(annotated(rotateAt, "tomorrow"), annotated(revokeBefore, "2026-11-23"))
	mustCreate(t, ordinary, both).rejects(t, "dgbot-requests", "annotation keys.dgbot.io/rotate-requested-at, keys.dgbot.io/revoke-issued-before"+noTime)
}

// beforePolicy creates objects as they were accepted before a policy was there. The policy rejects the probe.
func beforePolicy(t *testing.T, policy string, probe *unstructured.Unstructured, objects ...*unstructured.Unstructured) {
	t.Helper()
	binding := &unstructured.Unstructured{}
	binding.SetAPIVersion("admissionregistration.k8s.io/v1")
	binding.SetKind("ValidatingAdmissionPolicyBinding")
	must(t, admin.Get(t.Context(), client.ObjectKey{Name: policy}, binding))
	must(t, admin.Delete(t.Context(), binding.DeepCopy()))
	holds := func(want bool) {
		t.Helper()
		must(t, wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			said, err := create(ctx, ordinary, probe)
			return (said.refusal != "") == want, err
		}))
	}
	holds(false)
	for _, object := range objects {
		if object.GetKind() != v1alpha1.EnvironmentKind {
			object.SetNamespace(ordinary)
		}
		must(t, admin.Create(t.Context(), object))
		t.Cleanup(func() { must(t, client.IgnoreNotFound(admin.Delete(context.Background(), object))) })
	}
	binding.SetResourceVersion("")
	must(t, admin.Create(t.Context(), binding))
	holds(true)
}

func TestRequests_LeaveObjectsFromBeforeWritable(t *testing.T) {
	bad := []func(*unstructured.Unstructured){named("from-before"), annotated(revokeBefore, "yesterday"), annotated("keys.dgbot.io/old", "x"), labelled("keys.dgbot.io/old", "x")}
	key := apiKey(append(bad, func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"example.org/tracked"}) })...)
	bot := chatbot(bad...)
	beforePolicy(t, "dgbot-requests", apiKey(named("probe"), annotated("keys.dgbot.io/unknown", "")), key, bot)
	for _, object := range []*unstructured.Unstructured{key, bot} {
		for name, test := range map[string]struct {
			change func(*unstructured.Unstructured)
			want   string
		}{
			"an unrelated label": {func(o *unstructured.Unstructured) {
				o.SetLabels(map[string]string{"keys.dgbot.io/old": "x", "team": "crm"})
			}, ""},
			"another environment":    {annotated("example.org/team", "crm"), ""},
			"finalizers removed":     {func(o *unstructured.Unstructured) { o.SetFinalizers(nil) }, ""},
			"the value corrected":    {annotated(revokeBefore, "2026-01-01T00:00:00Z"), ""},
			"the annotations gone":   {func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }, ""},
			"another value of old":   {annotated("keys.dgbot.io/old", "y"), ""},
			"another bad value":      {annotated(revokeBefore, "today"), "annotation " + revokeBefore + noTime},
			"another bad annotation": {annotated(rotateAt, ""), "annotation " + rotateAt + noTime},
			"another unknown name": {annotated("keys.dgbot.io/new", "x"), unknownAnnotation("keys.dgbot.io/new",
				map[string]string{v1alpha1.APIKeyKind: ofKeys, v1alpha1.ChatbotKind: ofChatbots}[object.GetKind()]+toRotate)},
		} {
			t.Run(object.GetKind()+" "+name, func(t *testing.T) {
				changed := object.DeepCopy()
				test.change(changed)
				update(t, changed).rejects(t, "dgbot-requests", test.want)
			})
		}
		t.Run(object.GetKind()+" status", func(t *testing.T) {
			changed := object.DeepCopy()
			must(t, unstructured.SetNestedField(changed.Object, int64(1), "status", "observedGeneration"))
			got, err := during(func() error { return admin.Status().Update(t.Context(), changed, client.DryRunAll) })
			must(t, err)
			got.rejects(t, "", "")
		})
	}
	must(t, admin.Delete(t.Context(), key.DeepCopy()))
	must(t, admin.Patch(t.Context(), key.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata": {"finalizers": null}}`))))
}

// TestRequests_BearTheMostAnnotations: an object from before the policy dgbot-sizes has room for 256 KiB of annotations, and with what
// the API server notes about each, some 60,000 fit into etcd. No policy may keep such an object from being written, or a finalizer from
// being removed: its namespace could not be deleted. An expression that iterates over them takes minutes.
func TestRequests_BearTheMostAnnotations(t *testing.T) {
	const most = 30_000
	many := func(o *unstructured.Unstructured) {
		all := make(map[string]string, most)
		for i := range most {
			all[fmt.Sprintf("%04X", i)] = ""
		}
		o.SetAnnotations(all)
	}
	objects := []*unstructured.Unstructured{
		apiKey(named("most"), many, func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"example.org/tracked"}) }), chatbot(named("most"), many), environment(named("most"), many),
	}
	beforePolicy(t, "dgbot-sizes", tooLarge(), objects...)
	for _, object := range objects {
		t.Run(object.GetKind(), func(t *testing.T) {
			rejected := object.DeepCopy()
			fewer := rejected.GetAnnotations() // an update may not make a large object larger
			for i := range 10 {
				delete(fewer, fmt.Sprintf("%04X", i))
			}
			rejected.SetAnnotations(fewer)
			annotated("keys.dgbot.io/unknown", "")(rejected)
			if got := update(t, rejected); !strings.Contains(got.refusal, `annotation "keys.dgbot.io/unknown" is unknown`) {
				t.Errorf("among %d annotations an unknown one is accepted, or rejected as %.300q", most, got.refusal)
			}
			began := time.Now()
			object.SetFinalizers(nil)
			must(t, admin.Update(t.Context(), object))
			t.Logf("updated in %s", time.Since(began))
		})
	}
}

func TestNotices_WarnOfWhatIsProbablyNotMeant(t *testing.T) {
	const (
		revoked = `spec.state is Revoked: no key is issued, and the condition Ready is False, Revoked. Set spec.state to Active to issue one`
		expired = `spec.expiresAt (2020-01-01T00:00:00+02:00) lies in the past: no key is issued, and the condition Ready is False, Expired. ` +
			`Choose a later time, or remove expiresAt for a key that does not expire`
		hook = `annotation helm.sh/hook makes Helm delete and create this key again at each upgrade: all revisions are revoked at once, and a new key is issued. ` +
			`Remove the annotation, so that the key is an ordinary object of the release`
		argoHook = `annotation argocd.argoproj.io/hook makes Argo CD delete and create this key again at each sync: all revisions are revoked at once, and a new key is issued. ` +
			`Remove the annotation, so that the key is an ordinary object of the application`
		forced = `Force=true in annotation argocd.argoproj.io/sync-options lets Argo CD delete and create this key again, when the API server rejects a change: ` +
			`all revisions are revoked at once, and a new key is issued. Remove Force=true`
		replaced = `Force=true in annotation argocd.argoproj.io/sync-options lets Argo CD delete and create this environment again, at each change: ` +
			`in between, its rules hold for no key, and no key is issued for the first time. Remove Force=true`
		flux = `annotation kustomize.toolkit.fluxcd.io/force lets Flux delete and create this key again when the API server rejects a change: ` +
			`all revisions are revoked at once, and a new key is issued. Remove the annotation`
		botHook = `annotation helm.sh/hook makes Helm delete and create this chatbot again at each upgrade: it gets another chatbot ID, unless spec.chatbotID ` +
			`names one, and its HMAC secret stops verifying at once. Remove the annotation, so that the chatbot is an ordinary object of the release`
	)
	past := inSpec("expiresAt", "2020-01-01T00:00:00+02:00")
	for name, test := range map[string]struct {
		object *unstructured.Unstructured
		want   []string
	}{
		"an ordinary key":          {apiKey(), nil},
		"a key that expires":       {apiKey(inSpec("expiresAt", "2126-01-01T00:00:00Z")), nil},
		"a disabled key":           {apiKey(inSpec("state", "Disabled")), nil},
		"a revoked key":            {apiKey(inSpec("state", "Revoked")), []string{revoked}},
		"an expired key":           {apiKey(past), []string{expired}},
		"a revoked expired key":    {apiKey(inSpec("state", "Revoked"), past), []string{expired, revoked}},
		"an expired key, requests": {apiKey(past, inSpec("rotation", map[string]any{"requestedAt": "2019-01-01T00:00:00Z", "revokeIssuedBefore": "2019-01-01T00:00:00Z"})), []string{expired}},
		"a key as a hook":          {apiKey(annotated("helm.sh/hook", "pre-install,pre-upgrade")), []string{hook}},
		"a key for a hook":         {apiKey(annotated("helm.sh/resource-policy", "keep")), nil},
		"an ordinary chatbot":      {chatbot(), nil},
		"a key as Argo CD's hook":  {apiKey(annotated("argocd.argoproj.io/hook", "PreSync")), []string{argoHook}},
		"a key that is no hook":    {apiKey(annotated("argocd.argoproj.io/hook", "Skip")), nil},
		"a key that is forced":     {apiKey(annotated("argocd.argoproj.io/sync-options", "Prune=false, Force=true")), []string{forced}},
		"a key that is kept":       {apiKey(annotated("argocd.argoproj.io/sync-options", "Prune=false,Delete=false,Force=false")), nil},
		"a replaced environment":   {environment(annotated("argocd.argoproj.io/sync-options", "Force=true,Replace=true")), []string{replaced}},
		"a key forced by Flux":     {apiKey(annotated("kustomize.toolkit.fluxcd.io/force", "Enabled")), []string{flux}},
		"a key not forced by Flux": {apiKey(annotated("kustomize.toolkit.fluxcd.io/force", "Disabled")), nil},
		"a chatbot as a hook":      {chatbot(annotated("helm.sh/hook", "post-install")), []string{botHook}},
	} {
		t.Run(name, func(t *testing.T) {
			got := mustCreate(t, ordinary, test.object)
			got.rejects(t, "", "")
			got.warns(t, test.want...)
		})
	}
	key := apiKey(named("noticed"), func(o *unstructured.Unstructured) { o.SetNamespace(ordinary) })
	must(t, admin.Create(t.Context(), key))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(admin.Delete(context.Background(), key))) })
	for name, change := range map[string]func(*unstructured.Unstructured){"revoked": inSpec("state", "Revoked"), "expired": past} {
		t.Run("a key that is "+name+" later", func(t *testing.T) {
			changed := key.DeepCopy()
			change(changed)
			update(t, changed).warns(t)
		})
	}
	annotated("helm.sh/hook", "pre-install")(key)
	update(t, key).warns(t, hook)
}

// TestRequests_AcceptNamesOfOtherObjects: a manifest that was exported from a cluster, or written for an earlier version, may have them, and one
// file must not stop the recovery of a repository.
func TestRequests_AcceptNamesOfOtherObjects(t *testing.T) {
	names, err := os.ReadFile("../../api/v1alpha1/names.go")
	must(t, err)
	all := regexp.MustCompile(`"(keys\.dgbot\.io/[a-z-]+)"`).FindAllStringSubmatch(string(names), -1)
	tried := 0
	for _, match := range all {
		name := match[1]
		if name == rotateAt || name == revokeBefore || name == keptAt {
			continue
		}
		tried++
		for kind, object := range map[string]*unstructured.Unstructured{
			v1alpha1.APIKeyKind: apiKey(annotated(name, "x")), v1alpha1.ChatbotKind: chatbot(labelled(name, "x")), v1alpha1.EnvironmentKind: environment(annotated(name, "x"), labelled(name, "x")),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				got := mustCreate(t, ordinary, object)
				got.rejects(t, "", "")
				got.warns(t, "metadata has "+name+", which the operator uses on other objects: it has no effect on a "+kind+". Remove it from the manifest")
			})
		}
	}
	if tried < 10 {
		t.Errorf("only %d names were found in names.go", tried)
	}
}

func TestNamespaceLabels_WarnOfWhatHasNoEffect(t *testing.T) {
	for name, test := range map[string]struct {
		labels, annotations map[string]string
		want                string
	}{
		"deny":          {map[string]string{label: "deny", "team": "crm"}, map[string]string{"example.org/keys.dgbot.io": "x"}, ""},
		"allow":         {map[string]string{label: "allow"}, nil, ""},
		"no label":      {nil, nil, ""},
		"another value": {map[string]string{label: "Deny"}, nil, `label keys.dgbot.io/leaks has the unknown value "Deny" and no effect: set it to deny, which rejects keys in clear text, or to allow, which switches the search off`},
		"another name":  {map[string]string{"keys.dgbot.io/leak": "deny"}, nil, `label "keys.dgbot.io/leak" is unknown and has no effect: the label of a Namespace is keys.dgbot.io/leaks, such as keys.dgbot.io/leaks=deny`},
		"an annotation": {nil, map[string]string{label: "deny"}, `annotation "keys.dgbot.io/leaks" has no effect: a Namespace has no annotations under keys.dgbot.io/. ` +
			`Its label is keys.dgbot.io/leaks, such as "kubectl label namespace labelled keys.dgbot.io/leaks=deny"`},
	} {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{}
			object.SetAPIVersion("v1")
			object.SetKind("Namespace")
			object.SetName("labelled")
			object.SetLabels(test.labels)
			object.SetAnnotations(test.annotations)
			got, err := during(func() error { return admin.Create(t.Context(), object, client.DryRunAll) })
			must(t, err)
			got.rejects(t, "", "")
			if test.want == "" {
				got.warns(t)
			} else {
				got.warns(t, test.want)
			}
		})
	}
}
