// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func sentenceOfSize(kind string, size int) string {
	return fmt.Sprintf(`labels, annotations and finalizers of %s "crm" have %d bytes together, and the limit is 65536: remove those that are not needed`, kind, size)
}

func withLabels(n int) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		labels := map[string]string{}
		for i := range n {
			labels[fmt.Sprintf("label-%06d", i)] = strings.Repeat("x", 60)
		}
		o.SetLabels(labels)
	}
}

func withFinalizers(n int) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("example.com/%s-%06d", strings.Repeat("f", 50), i))
		}
		o.SetFinalizers(all)
	}
}

func withOwners(n, size int) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		var owners []metav1.OwnerReference
		for i := range n {
			uid := types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))
			owners = append(owners, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: strings.Repeat("n", size), UID: uid})
		}
		o.SetOwnerReferences(owners)
	}
}

func withTemplate(size int, path ...string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		annotations := map[string]any{}
		for i := 0; size > 0; i++ {
			annotations[fmt.Sprintf("example.com/note-%d", i)] = strings.Repeat("x", min(size, 4096))
			size -= 4096
		}
		_ = unstructured.SetNestedMap(o.Object, annotations, append(append([]string{"spec"}, path...), "secret", "template", "annotations")...)
	}
}

// tooLarge is an object that the policy rejects.
func tooLarge() *unstructured.Unstructured {
	return apiKey(named("probe"), annotated("note", strings.Repeat("x", 70_000)))
}

// TestSizes_RejectWhatFillsCaches: each part of an object that a user can make large is bounded, and the message names the limit.
func TestSizes_RejectWhatFillsCaches(t *testing.T) {
	large := annotated("note", strings.Repeat("x", 65_536))
	for name, test := range map[string]struct {
		object *unstructured.Unstructured
		want   string
	}{
		"a key with an annotation of 64 KiB":         {apiKey(large), "labels, annotations and finalizers of DGbotAPIKey"},
		"a chatbot with an annotation of 64 KiB":     {chatbot(large), "labels, annotations and finalizers of DGbotChatbot"},
		"an environment with one":                    {environment(large), "labels, annotations and finalizers of DGbotEnvironment"},
		"a key with 15,000 annotations":              {apiKey(func(o *unstructured.Unstructured) { o.SetAnnotations(many(15_000, 1, "x")) }), "and the limit is 65536"},
		"a key with an annotation of wide letters":   {apiKey(annotated("note", strings.Repeat("ü", 33_000))), "and the limit is 65536"},
		"a key with 5,000 labels":                    {apiKey(withLabels(5_000)), "and the limit is 65536"},
		"a key with 5,000 finalizers":                {apiKey(withFinalizers(5_000)), "and the limit is 65536"},
		"a key with 17 owners":                       {apiKey(withOwners(17, 5)), `DGbotAPIKey "crm" has 17 owner references; the limits are 16, and 8192 bytes together`},
		"a key with 10,000 owners":                   {apiKey(withOwners(10_000, 5)), `DGbotAPIKey "crm" has 10000 owner references`},
		"a key with an owner of a very long name":    {apiKey(withOwners(1, 10_000)), "has 1 owner references; the limits are 16, and 8192 bytes together"},
		"a key with a Secret template of 40 KiB":     {apiKey(withTemplate(40_960)), `the Secret template of DGbotAPIKey "crm" has `},
		"a chatbot with a Secret template of 40 KiB": {chatbot(withTemplate(40_960, "identityVerification")), `the Secret template of DGbotChatbot "crm" has `},
		"an ordinary key":                            {apiKey(annotated("note", "CRM"), withTemplate(4096), withOwners(1, 20)), ""},
		"a key with annotations of 60 KiB":           {apiKey(annotated("note", strings.Repeat("x", 60_000))), ""},
		"a key with a Secret template of 28 KiB":     {apiKey(withTemplate(28_672)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			got := mustCreate(t, ordinary, test.object)
			if test.want == "" && got.refusal != "" || !strings.Contains(got.refusal, test.want) {
				t.Errorf("rejected:\n%.600s\nwant:\n%s", got.refusal, test.want)
			}
			if test.want != "" && !strings.Contains(got.refusal, "dgbot-sizes") {
				t.Errorf("another policy rejects it: %.300s", got.refusal)
			}
			t.Logf("answered after %s", time.Since(began).Round(time.Millisecond))
		})
	}
}

// TestSizes_CountExactly: the limit is the number that the message names.
func TestSizes_CountExactly(t *testing.T) {
	const limit, rest = 65_536, 18 // bytes of the text in which the policy counts, beside the value
	fits := strings.Repeat("x", limit-rest)
	mustCreate(t, ordinary, apiKey(annotated("a", fits))).rejects(t, "dgbot-sizes", "")
	mustCreate(t, ordinary, apiKey(annotated("a", fits+"x"))).rejects(t, "dgbot-sizes", sentenceOfSize("DGbotAPIKey", limit+1))
}

// TestSizes_LetLargeObjectsShrink: an object from before the policy stays writable as long as nothing grows, also by garbage collection,
// which removes finalizers.
func TestSizes_LetLargeObjectsShrink(t *testing.T) {
	old := apiKey(named("old"), annotated("note", strings.Repeat("x", 70_000)), annotated("small", "y"), withOwners(20, 5), withTemplate(40_960))
	old.SetFinalizers([]string{"example.com/theirs"})
	beforePolicy(t, "dgbot-sizes", tooLarge(), old)
	must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(old), old))
	for name, test := range map[string]struct {
		change func(*unstructured.Unstructured)
		want   string
	}{
		"a change of spec":         {inSpec("label", "Another"), ""},
		"without the finalizer":    {func(o *unstructured.Unstructured) { o.SetFinalizers(nil) }, ""},
		"with fewer owners":        {withOwners(19, 5), ""},
		"with a smaller template":  {withTemplate(36_864), ""},
		"with an annotation more":  {annotated("more", "x"), "and the limit is 65536"},
		"with other owners":        {withOwners(20, 6), "the limits are 16"},
		"with a larger template":   {withTemplate(45_056), "and the limit is 32768"},
		"with a shorter value":     {annotated("note", strings.Repeat("x", 69_000)), ""},
		"with a shorter value too": {annotated("small", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			changed := old.DeepCopy()
			test.change(changed)
			if got := update(t, changed); test.want == "" && got.refusal != "" || !strings.Contains(got.refusal, test.want) {
				t.Errorf("rejected:\n%.400s\nwant:\n%s", got.refusal, test.want)
			}
		})
	}
	old.SetFinalizers(nil)
	must(t, admin.Update(t.Context(), old))
}

// TestSizes_LeaveRoomForKubectl: kubectl stores the applied manifest, its template included, in an annotation.
func TestSizes_LeaveRoomForKubectl(t *testing.T) {
	manifest := apiKey(named("applied"), withTemplate(28_672), annotated("argocd.argoproj.io/tracking-id", "crm:keys.dgbot.io/DGbotAPIKey:ordinary/applied"))
	manifest.SetNamespace(ordinary)
	text, err := json.Marshal(manifest)
	must(t, err)
	for _, args := range [][]string{{"apply", "-f", "-"}, {"apply", "-f", "-"}, {"apply", "--server-side", "--force-conflicts", "-f", "-"}} {
		command := cluster.Kubectl(t.Context(), args...)
		command.Stdin = strings.NewReader(string(text))
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	must(t, admin.Delete(t.Context(), manifest))
}
