// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var inText = regexp.MustCompile(apikey.InText)

// The vectors and what stands around keys: the policy finds what internal/apikey says is one.
func TestThePolicyKnowsAKeyAsTheOperatorDoes(t *testing.T) {
	texts := vectors(t)
	for _, text := range slices.Clone(texts) {
		if inText.MatchString(text) {
			texts = append(texts, "token="+text+";", "é"+text+"é", `{\n\"key\":\"`+text+`\"}`, "x%3D"+text, text+text, text+"0", text+"_", "-"+text+"-")
		}
	}
	for _, environment := range []string{"a", "dgbot", "on-dgbot", strings.Repeat("e", 32)} {
		minted, err := apikey.Mint(environment)
		must(t, err)
		text := minted.Reveal()
		texts = append(texts, text, minted.Masked(), minted.ID(), minted.Hash())
		for range 20 {
			at := int(minted.Hash()[len(texts)%64]) % len(text)
			texts = append(texts, text[:at]+text[at+1:], text[:at]+"0"+text[at:], text[:at]+"_"+text[at+1:])
		}
	}
	keys := 0
	for some := range slices.Chunk(texts, 20) {
		data, want := map[string]string{}, map[string]string{}
		for i, text := range some {
			name := fmt.Sprintf("%c", 'a'+i)
			data[name] = text
			if inText.MatchString(text) {
				want[name] = text
				keys++
			}
		}
		var warned string
		if warnings := mustCreate(t, ordinary, configMap(data)).warnings; len(warnings) > 0 {
			warned = warnings[0]
		}
		for name := range maps.Keys(data) {
			if got := strings.Contains(warned, `data "`+name+`"`); got != (want[name] != "") {
				t.Errorf("%q: the policy says %v", data[name], got)
			}
		}
	}
	if keys < 50 || len(texts)-keys < 50 {
		t.Errorf("%d of %d texts were keys: this compares nothing", keys, len(texts))
	}
}

// vectors are the texts of internal/apikey's, without those that are no text of a ConfigMap.
func vectors(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(controlplane.Repository(), "internal", "apikey", "testdata", "vectors.json"))
	must(t, err)
	var content map[string][]struct{ Text string }
	must(t, json.Unmarshal(raw, &content))
	var texts []string
	for _, vector := range append(content["valid"], content["invalid"]...) {
		texts = append(texts, vector.Text)
	}
	if len(texts) < 30 {
		t.Fatalf("only %d vectors", len(texts))
	}
	return texts
}

// Our own pages and manifests speak of keys and hold none, but for a test vector.
func TestOurOwnDocumentsPass(t *testing.T) {
	data := map[string]string{}
	for _, pattern := range []string{"README.md", "docs/*.md", "config/*/*.yaml", "config/*/*/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(controlplane.Repository(), filepath.FromSlash(pattern)))
		must(t, err)
		for _, file := range files {
			content, err := os.ReadFile(file)
			must(t, err)
			data[fmt.Sprintf("%d-%s", len(data), filepath.Base(file))] = strings.ReplaceAll(string(content), vectors(t)[0], "SAMPLE")
		}
	}
	if len(data) < 10 {
		t.Fatalf("only %d documents", len(data))
	}
	silent(t, configMap(data))
}

func policies(t *testing.T) (find, notice admissionregistrationv1.ValidatingAdmissionPolicy) {
	t.Helper()
	file, err := os.Open(filepath.Join(controlplane.Repository(), "config", "policy", "leaks.yaml"))
	must(t, err)
	defer file.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	byName := map[string]admissionregistrationv1.ValidatingAdmissionPolicy{}
	for {
		var policy admissionregistrationv1.ValidatingAdmissionPolicy
		if decoder.Decode(&policy) != nil {
			break
		}
		if policy.Kind == "ValidatingAdmissionPolicy" {
			byName[policy.Name] = policy
		}
	}
	return byName["dgbot-leaks"], byName["dgbot-leaks-notice"]
}

// Two policies look for the same, in the same way: what one takes for searched the other does not report.
func TestBothPoliciesSearchAlike(t *testing.T) {
	find, notice := policies(t)
	shared := slices.IndexFunc(find.Spec.Variables, func(v admissionregistrationv1.Variable) bool { return v.Name == "refusing" }) + 1
	if shared < 8 || len(notice.Spec.Variables) < shared {
		t.Fatalf("only %d shared variables", shared)
	}
	for what, pair := range map[string][2]any{
		"failurePolicy":    {find.Spec.FailurePolicy, notice.Spec.FailurePolicy},
		"matchConstraints": {find.Spec.MatchConstraints, notice.Spec.MatchConstraints},
		"matchConditions":  {find.Spec.MatchConditions, notice.Spec.MatchConditions},
		"variables":        {find.Spec.Variables[:shared], notice.Spec.Variables[:shared]},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s differ:\n%v\n%v", what, pair[0], pair[1])
		}
	}
	if *find.Spec.FailurePolicy != admissionregistrationv1.Ignore {
		t.Error("an error of the policy must not reject a write")
	}
}

// The regular expressions are those of internal/apikey, and the quick question is asked of everything that may be a key.
func TestThePolicysRegularExpressions(t *testing.T) {
	find, _ := policies(t)
	asked := map[string]int{}
	for _, variable := range find.Spec.Variables {
		for _, match := range regexp.MustCompile(`matches\(\s*r'([^']*)'\)`).FindAllStringSubmatch(variable.Expression, -1) {
			asked[match[1]]++
		}
	}
	for _, condition := range find.Spec.MatchConditions {
		for _, match := range regexp.MustCompile(`matches\(\s*r'([^']*)'\)`).FindAllStringSubmatch(condition.Expression, -1) {
			asked[match[1]]++
		}
	}
	const quick = `_[0-9A-Za-z]{49}`
	if full := strings.Replace(strings.TrimPrefix(apikey.InText, "("), ")(?:", "(?:", 1); asked[full] != 1 || asked[quick] < 5 || len(asked) != 2 {
		t.Errorf("the policy asks %v, want %s once, and %s", asked, full, quick)
	}
	if !strings.HasSuffix(apikey.Form, quick) || !strings.HasPrefix(apikey.Form, apikey.Prefix) {
		t.Errorf("%s does not begin with %s and end with %s: the quick questions miss keys", apikey.Form, apikey.Prefix, quick)
	}
}

// The API server checks the types of expressions against every kind that a policy matches.
func TestTheExpressionsTypeCheck(t *testing.T) {
	must(t, cluster.StartControllerManager(t.Context(), nil))
	t.Cleanup(func() { must(t, cluster.StopControllerManager()) })
	var list admissionregistrationv1.ValidatingAdmissionPolicyList
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := admin.List(ctx, &list, client.HasLabels{"app.kubernetes.io/part-of"}); err != nil {
			return false, err
		}
		unchecked := func(p admissionregistrationv1.ValidatingAdmissionPolicy) bool {
			return p.Status.TypeChecking == nil || p.Status.ObservedGeneration != p.Generation
		}
		return len(list.Items) == 13 && !slices.ContainsFunc(list.Items, unchecked), nil
	})
	must(t, err)
	for _, policy := range list.Items {
		for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
			t.Errorf("%s: %s: %s", policy.Name, warning.FieldRef, warning.Warning)
		}
	}
}
