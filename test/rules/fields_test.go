// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// TestSecretEntries_AreTheOnesThatTheCRDReserves: with an entry missing from the rule, spec.secret.key could name it, and
// the operator would overwrite the key text.
func TestSecretEntries_AreTheOnesThatTheCRDReserves(t *testing.T) {
	quoted := make([]string, len(v1alpha1.APIKeySecretEntries))
	for i, entry := range v1alpha1.APIKeySecretEntries {
		quoted[i] = "'" + entry + "'"
	}
	want := "!(self in [" + strings.Join(quoted, ", ") + "])"
	found := 0
	for _, r := range schemaOf(t, "dgbotapikeys", "spec", "secret", "key").rules() {
		if !strings.Contains(r.expression, "self in") {
			continue
		}
		found++
		if r.expression != want {
			t.Errorf("rule %s, want %s", r.expression, want)
		}
		for _, entry := range v1alpha1.APIKeySecretEntries {
			if !strings.Contains(r.message, entry) {
				t.Errorf("the message does not name %s: %s", entry, r.message)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d rules reserve entries, want 1", found)
	}
	if slices.Contains(v1alpha1.APIKeySecretEntries[:], v1alpha1.DefaultSecretKey) {
		t.Error("the default of spec.secret.key is a reserved entry")
	}
}

// TestPropagation_NamesAsManyVerifiersAsTheCRDTakes: with more names, the API server would reject every status of the key.
func TestPropagation_NamesAsManyVerifiersAsTheCRDTakes(t *testing.T) {
	pending := schemaOf(t, "dgbotapikeys", "status", "propagation", "pending")
	if got := pending.number("maxItems"); got != v1alpha1.MaxPendingVerifiers {
		t.Errorf("maxItems %d, want %d", got, v1alpha1.MaxPendingVerifiers)
	}
	if !strings.Contains(pending.text("description"), fmt.Sprintf("first %d", v1alpha1.MaxPendingVerifiers)) {
		t.Errorf("the description does not name the number: %s", pending.text("description"))
	}
}

// TestSecretEntries_OfChatbotsAreDocumented: no field of a DGbotChatbot names an entry of its Secret, so there is no rule.
// The field's description is the list that users read.
func TestSecretEntries_OfChatbotsAreDocumented(t *testing.T) {
	secret := schemaOf(t, "dgbotchatbots", "spec", "identityVerification", "secret")
	for _, entry := range v1alpha1.IdentitySecretEntries {
		if !strings.Contains(secret.text("description"), entry) {
			t.Errorf("the description of identityVerification.secret does not name %s", entry)
		}
	}
	if properties, _ := secret["properties"].(map[string]any); len(properties) != 2 || properties["name"] == nil || properties["template"] == nil {
		t.Errorf("identityVerification.secret has other fields than name and template: a field that names an entry needs a rule")
	}
}

func TestTemplate_DenyListIsOneRule(t *testing.T) {
	var rules, exports []rule
	for _, path := range [][]string{
		{"dgbotapikeys", "spec", "secret", "template"}, {"dgbotchatbots", "spec", "identityVerification", "secret", "template"},
	} {
		for _, field := range []string{"labels", "annotations"} {
			for _, r := range schemaOf(t, path[0], append(slices.Clone(path[1:]), field)...).rules() {
				if strings.Contains(r.message, "replicator") {
					exports = append(exports, r)
				} else {
					rules = append(rules, r)
				}
			}
		}
	}
	if len(rules) != 4 || len(slices.Compact(slices.Clone(rules))) != 1 {
		t.Fatalf("%d rules, want 4 equal ones: %q", len(rules), rules)
	}
	if len(exports) != 4 || len(slices.Compact(slices.Clone(exports))) != 1 || !strings.Contains(exports[0].expression, "k.matches('"+v1alpha1.ExportingNames+"')") {
		t.Errorf("%d rules against replicators, want 4 equal ones with the expression by which the operator leaves out names: %q", len(exports), exports)
	}
	names := regexp.MustCompile(`'([^']+)'`).FindAllStringSubmatch(rules[0].expression, -1)
	if len(names) != 6 {
		t.Errorf("%d names in %s, want 6", len(names), rules[0].expression)
	}
	for _, name := range names {
		if !strings.Contains(rules[0].message, name[1]) {
			t.Errorf("the message does not name %s", name[1])
		}
	}
	for _, own := range []string{v1alpha1.GroupVersion.Group + "/", v1alpha1.ManagedByLabel} {
		if !strings.Contains(rules[0].expression, "'"+own+"'") {
			t.Errorf("the rule does not reserve %s", own)
		}
	}
}

// matches returns the regular expression of a rule of the form self.matches('…').
func matches(t *testing.T, s schema) *regexp.Regexp {
	t.Helper()
	for _, r := range s.rules() {
		if inner, ok := strings.CutPrefix(r.expression, "self.matches('"); ok {
			return regexp.MustCompile(strings.TrimSuffix(inner, "')"))
		}
	}
	t.Fatal("no rule of the form self.matches('…')")
	return nil
}

func TestScope_FormIsTheOneOfTheCRDs(t *testing.T) {
	key, record := schemaOf(t, "dgbotapikeys", "spec", "scopes"), schemaOf(t, "dgbotapikeyrecords", "spec", "scopes")
	allowed := schemaOf(t, "dgbotenvironments", "spec", "allowedScopes")
	for _, s := range []schema{key, record} {
		if got := s.number("maxItems"); got != v1alpha1.MaxScopes {
			t.Errorf("maxItems %d, want %d", got, v1alpha1.MaxScopes)
		}
	}
	form := matches(t, schemaOf(t, "dgbotapikeys", "spec", "scopes", "[]"))
	for _, path := range [][]string{{"dgbotapikeyrecords", "spec", "scopes", "[]"}, {"dgbotenvironments", "spec", "allowedScopes", "[]"}} {
		item := schemaOf(t, path[0], path[1:]...)
		if got := matches(t, item); got.String() != form.String() || item.number("maxLength") != v1alpha1.MaxScopeLength {
			t.Errorf("%v: %s, at most %d; want %s, at most %d", path, got, item.number("maxLength"), form, v1alpha1.MaxScopeLength)
		}
	}
	const unique = "self.all(x, self.exists_one(y, x == y))"
	for _, s := range []schema{key, record, allowed} {
		if !slices.ContainsFunc(s.rules(), func(r rule) bool { return r.expression == unique }) {
			t.Errorf("no rule rejects a repeated scope: %q", s.rules())
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	concrete := 0
	for range 20000 {
		text := randomText(random, "ab.*_:-A9 ")
		want := form.MatchString(text) && !strings.Contains(text, "*") && len(text) <= v1alpha1.MaxScopeLength
		if got := v1alpha1.Scope(text).IsConcrete(); got != want {
			t.Errorf("IsConcrete(%q) is %t, want %t", text, got, want)
		}
		if want {
			concrete++
		}
	}
	if concrete < 1000 {
		t.Errorf("only %d concrete scopes were tried", concrete)
	}
}

func randomText(random *rand.Rand, alphabet string) string {
	text := make([]byte, random.IntN(6))
	for i := range text {
		text[i] = alphabet[random.IntN(len(alphabet))]
	}
	return string(text)
}

const environmentForm = `^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`

// TestEnvironment_NameHasOneForm: the four kinds name environments, and key texts begin with them.
func TestEnvironment_NameHasOneForm(t *testing.T) {
	for _, plural := range []string{"dgbotapikeys", "dgbotchatbots"} {
		if got := matches(t, schemaOf(t, plural, "spec", "environment")).String(); got != environmentForm {
			t.Errorf("%s: %s, want %s", plural, got, environmentForm)
		}
	}
	if got := schemaOf(t, "dgbotapikeyrecords", "spec", "environment").text("pattern"); got != environmentForm {
		t.Errorf("dgbotapikeyrecords: %s, want %s", got, environmentForm)
	}
	if got, want := schemaOf(t, "dgbotenvironments").rules()[0].expression, "self.metadata.name.matches('"+environmentForm+"')"; got != want {
		t.Errorf("dgbotenvironments: %s, want %s", got, want)
	}
	form, random := regexp.MustCompile(environmentForm), rand.New(rand.NewPCG(3, 4))
	texts := []string{strings.Repeat("a", 32), strings.Repeat("a", 33), strings.Repeat("-", 32), "a" + strings.Repeat("-", 30) + "a"}
	for range 300 {
		texts = append(texts, randomText(random, "az-09A_"))
	}
	for _, text := range texts {
		if _, err := apikey.Mint(text); (err == nil) != form.MatchString(text) {
			t.Errorf("Mint(%q): %v, and the CRDs accept it: %t", text, err, form.MatchString(text))
		}
	}
	if inner := strings.TrimSuffix(strings.TrimPrefix(environmentForm, "^"), "$"); !strings.Contains(apikey.Form, strings.Replace(inner, "(", "(?:", 1)) {
		t.Errorf("apikey.Form is %s, which does not have %s", apikey.Form, inner)
	}
}

func TestRecord_KeyIDAndHashAreTheKeysForm(t *testing.T) {
	key, err := apikey.Mint("production")
	if err != nil {
		t.Fatal(err)
	}
	for field, value := range map[string]string{"keyID": key.ID(), "hash": key.Hash()} {
		s := schemaOf(t, "dgbotapikeyrecords", "spec", field)
		if !regexp.MustCompile(s.text("pattern")).MatchString(value) || s.number("maxLength") != len(value) {
			t.Errorf("spec.%s: %s, at most %d; the operator writes %q", field, s.text("pattern"), s.number("maxLength"), value)
		}
	}
	if want := fmt.Sprintf("^[0-9A-Za-z]{%d}$", apikey.IDLength); schemaOf(t, "dgbotapikeyrecords", "spec", "keyID").text("pattern") != want {
		t.Errorf("spec.keyID is not %s", want)
	}
}

func TestChatbotID_HasOneForm(t *testing.T) {
	wished := matches(t, schemaOf(t, "dgbotchatbots", "spec", "chatbotID"))
	record := schemaOf(t, "dgbotapikeyrecords", "spec", "chatbotID")
	if got := record.text("pattern"); got != wished.String() {
		t.Errorf("records: %s, chatbots: %s", got, wished)
	}
	random := rand.New(rand.NewPCG(5, 6))
	texts := []string{strings.Repeat("a", 64), strings.Repeat("a", 65), identity.ChatbotIDOf("uid")}
	for range 5000 {
		texts = append(texts, randomText(random, "aZ9_-. "))
	}
	for _, text := range texts {
		if got, want := identity.ValidChatbotID(text), wished.MatchString(text) && len(text) <= record.number("maxLength"); got != want {
			t.Errorf("ValidChatbotID(%q) is %t, and the CRDs accept it: %t", text, got, want)
		}
	}
}

// TestRecord_StatesAreTheOnesThatVerifiersKnow: a state of records that Admit does not know would be rejected by verifiers,
// and a state that is added for keys must not become one of records by itself.
func TestRecord_StatesAreTheOnesThatVerifiersKnow(t *testing.T) {
	verdicts := map[v1alpha1.KeyState]standing.Verdict{
		v1alpha1.StateActive: standing.Admitted, v1alpha1.StateDisabled: standing.Disabled, v1alpha1.StateRevoked: standing.Revoked,
	}
	states, _ := schemaOf(t, "dgbotapikeyrecords", "spec", "state")["enum"].([]any)
	if len(states) != len(verdicts) {
		t.Errorf("records have the states %v, want %d", states, len(verdicts))
	}
	for _, state := range states {
		text, _ := state.(string)
		standing := standing.Standing{Owned: true, State: v1alpha1.KeyState(text)}
		if got, want := standing.Admit(time.Unix(0, 0)), verdicts[v1alpha1.KeyState(text)]; got != want {
			t.Errorf("Admit of state %s is %s, want %s", text, got, want)
		}
	}
}

// TestDisplayNames_HaveOneRule: labels, display names and reasons are shown beside one another.
func TestDisplayNames_HaveOneRule(t *testing.T) {
	label, name := schemaOf(t, "dgbotapikeys", "spec", "label"), schemaOf(t, "dgbotchatbots", "spec", "displayName")
	reason := schemaOf(t, "dgbotenvironments", "spec", "audit", "exemptions", "[]", "reason")
	if len(label.rules()) != 2 || len(name.rules()) != 2 || label.number("maxLength") != name.number("maxLength") {
		t.Fatalf("label %q, displayName %q: want two rules each", label.rules(), name.rules())
	}
	for i := range label.rules() {
		if label.rules()[i].expression != name.rules()[i].expression {
			t.Errorf("label: %s\ndisplayName: %s", label.rules()[i].expression, name.rules()[i].expression)
		}
	}
	if got := reason.rules()[0].expression; got != label.rules()[0].expression {
		t.Errorf("reason: %s\nlabel: %s", got, label.rules()[0].expression)
	}
}
