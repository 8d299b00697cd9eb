// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/flags"
)

// fillHostile sets every text in a value to the hostile one, every list and map to one entry, and every pointer. Types with an encoding of their
// own keep to it.
func fillHostile(value reflect.Value, depth int) {
	switch value.Interface().(type) {
	case metav1.Time:
		value.Set(reflect.ValueOf(*clitest.At(-time.Hour)))
		return
	case metav1.Duration:
		value.Set(reflect.ValueOf(metav1.Duration{Duration: time.Hour}))
		return
	case metav1.MicroTime, resource.Quantity, intstr.IntOrString, metav1.FieldsV1:
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(clitest.Hostile)
	case reflect.Int32, reflect.Int64:
		value.SetInt(3)
	case reflect.Pointer:
		if depth > 0 {
			value.Set(reflect.New(value.Type().Elem()))
			fillHostile(value.Elem(), depth-1)
		}
	case reflect.Slice:
		if depth > 0 && value.Type().Elem().Kind() != reflect.Uint8 {
			value.Set(reflect.MakeSlice(value.Type(), 1, 1))
			fillHostile(value.Index(0), depth-1)
		}
	case reflect.Map:
		entry := reflect.New(value.Type().Elem()).Elem()
		if _, isQuantity := entry.Interface().(resource.Quantity); isQuantity || depth == 0 {
			return
		}
		fillHostile(entry, depth-1)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(reflect.ValueOf(clitest.Hostile).Convert(value.Type().Key()), entry)
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				fillHostile(value.Field(i), depth-1)
			}
		}
	}
}

func filled[T any](change func(*T)) T {
	var value T
	fillHostile(reflect.ValueOf(&value).Elem(), 12)
	change(&value)
	return value
}

// hostileObjects are what a hostile API server lists, by the end of the path. What is written down as a state or a kind differs between
// the objects of a list, so that every branch of the output is taken.
func hostileObjects(key apikey.Key, name string) map[string]any {
	reference := func(version, kind string) []metav1.OwnerReference {
		yes := true
		return []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: clitest.Hostile, Controller: &yes}}
	}
	keyOf := func(state v1alpha1.KeyState) v1alpha1.DGbotAPIKey {
		return filled(func(k *v1alpha1.DGbotAPIKey) {
			k.TypeMeta, k.UID, k.Spec.State, k.Namespace, k.Name = cluster.TypeMeta(v1alpha1.APIKeyKind), "1", state, "support", name
			k.Spec.ChatbotRef.Name, k.Spec.Environment = "bot", "production"
			k.Annotations[v1alpha1.KeptAtAnnotation] = clitest.Hostile
			for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.StalledCondition, v1alpha1.PolicyViolationCondition, v1alpha1.EnvironmentMissingCondition} {
				c := k.Status.Conditions[0]
				c.Type, c.Status = kind, metav1.ConditionTrue
				k.Status.Conditions = append(k.Status.Conditions, c)
			}
		})
	}
	record := filled(func(r *v1alpha1.DGbotAPIKeyRecord) {
		r.TypeMeta = cluster.TypeMeta(v1alpha1.APIKeyRecordKind)
		r.Spec.Hash, r.Spec.KeyID, r.Namespace, r.Spec.APIKeyRef.Name = key.Hash(), key.ID(), "support", name
	})
	good := record
	good.Spec.State, good.Spec.APIKeyRef.UID, good.Spec.NotAfter = v1alpha1.StateActive, "1", clitest.At(100*365*clitest.Day)
	good.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Name: name, UID: "1"}}
	deployment := filled(func(d *appsv1.Deployment) { d.OwnerReferences = reference("evil.example/v1", "Deployment") })
	ordinary := filled(func(d *appsv1.Deployment) { d.OwnerReferences = nil })
	return map[string]any{
		"/dgbotapikeys": v1alpha1.DGbotAPIKeyList{
			TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyKind + "List"), Items: []v1alpha1.DGbotAPIKey{keyOf(v1alpha1.StateActive), keyOf(clitest.Hostile), keyOf(v1alpha1.StateDisabled)},
		},
		"/dgbotapikeys/web":   keyOf(v1alpha1.StateActive),
		"/dgbotapikeyrecords": v1alpha1.DGbotAPIKeyRecordList{TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyRecordKind + "List"), Items: []v1alpha1.DGbotAPIKeyRecord{good}},
		"/unknown/records":    v1alpha1.DGbotAPIKeyRecordList{TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyRecordKind + "List"), Items: []v1alpha1.DGbotAPIKeyRecord{record}},
		"/dgbotchatbots/":     filled(func(c *v1alpha1.DGbotChatbot) { c.TypeMeta = cluster.TypeMeta(v1alpha1.ChatbotKind) }),
		"/dgbotenvironments/": filled(func(e *v1alpha1.DGbotEnvironment) { e.TypeMeta = cluster.TypeMeta(v1alpha1.EnvironmentKind) }),
		"/events":             corev1.EventList{Items: []corev1.Event{filled(func(*corev1.Event) {})}},
		"/namespaces":         corev1.NamespaceList{Items: []corev1.Namespace{filled(func(*corev1.Namespace) {})}},
		"/deployments":        appsv1.DeploymentList{Items: []appsv1.Deployment{deployment, ordinary}},
		"/statefulsets":       appsv1.StatefulSetList{Items: []appsv1.StatefulSet{filled(func(s *appsv1.StatefulSet) { s.OwnerReferences = reference("v1", "Deployment") })}},
		"/daemonsets":         appsv1.DaemonSetList{Items: []appsv1.DaemonSet{filled(func(s *appsv1.DaemonSet) { s.OwnerReferences = reference("evil.example/v1", "DaemonSet") })}},
		"/replicasets":        appsv1.ReplicaSetList{Items: []appsv1.ReplicaSet{filled(func(s *appsv1.ReplicaSet) { s.OwnerReferences = reference("apps/v1", clitest.Hostile) })}},
		"/leases": coordinationv1.LeaseList{TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "LeaseList"}, Items: []coordinationv1.Lease{
			filled(func(l *coordinationv1.Lease) { l.Labels[v1alpha1.VerifierLabel] = "true" }),
		}},
		"/cronjobs":  batchv1.CronJobList{},
		"/jobs":      batchv1.JobList{Items: []batchv1.Job{filled(func(j *batchv1.Job) { j.OwnerReferences = reference(clitest.Hostile+"/v1", "Deployment") })}},
		"/pods":      corev1.PodList{Items: []corev1.Pod{filled(func(p *corev1.Pod) { p.OwnerReferences = reference(clitest.Hostile, clitest.Hostile) })}},
		"/version":   map[string]string{},
		"/v1/verify": map[string]any{"valid": false, "missingScopes": []string{clitest.Hostile}, "error": clitest.Hostile, "label": clitest.Hostile},
	}
}

// hostileServer answers as an API server and as a verifier do, with hostile objects. Where it denies, its words are hostile, too.
func hostileServer(t *testing.T, objects map[string]any, denies bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		if denies && request.URL.Path != "/version" {
			answer.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(answer).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden,
				Code: http.StatusForbidden, Message: clitest.Hostile, Details: &metav1.StatusDetails{Group: v1alpha1.GroupVersion.Group, Name: clitest.Hostile},
			})
			return
		}
		for path, object := range objects {
			if strings.HasSuffix(request.URL.Path, path) || strings.HasSuffix(path, "/") && strings.Contains(request.URL.Path, path) {
				_ = json.NewEncoder(answer).Encode(object)
				return
			}
		}
		answer.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestEveryVerb_KeepsHostileTextFromActing on a terminal, a page, a spreadsheet or a shell.
func TestEveryVerb_KeepsHostileTextFromActing(t *testing.T) {
	key := clitest.Mint(t, "production")
	parsed, err := apikey.Parse(key)
	if err != nil {
		t.Fatal(err)
	}
	objects, odd := hostileObjects(parsed, "web"), hostileObjects(parsed, "web")
	odd["/dgbotapikeyrecords"] = objects["/unknown/records"]
	servers := map[string]string{
		"known": hostileServer(t, objects, false), "a state that is not known": hostileServer(t, odd, false), "denied": hostileServer(t, objects, true),
		"hostile names": hostileServer(t, hostileObjects(parsed, clitest.Hostile), false),
	}

	folder := t.TempDir()
	// The longest hostile name that a file can have, with an invalid byte, which is a sign of tabwriter's.
	name := strings.ReplaceAll(strings.ReplaceAll(clitest.Hostile, "/", ":"), "\x00", "\xff")[:200]
	if err := os.WriteFile(filepath.Join(folder, name), []byte("key: "+key), 0o600); err != nil {
		t.Fatal(err)
	}
	history := "commit " + strings.Repeat("a", 40) + "\ndiff --git a/x b/x\n--- a/x\n+++ \"b/\\033[2J\\nFORGED\\u202e=cmd\"\n@@ -0,0 +1 @@\n+" + key + "\n"

	verbs := [][]string{
		{"describe", "web"}, {"describe", "web", "-o", "json"}, {"describe", "--all", "-o", "yaml"}, {"describe", "--all"}, {"audit", "--html", "-"},
		{"rotate", "web"}, {"rotate", "--all"}, {"rotate", "web", "--dry-run"}, {"rotate", "web", "--dry-run", "-o", "json"}, {"rotate", "--all", "--wait", "--timeout=1ms"},
		{"compromise", "web", "--yes", "--wait", "--timeout=1ms"}, {"compromise", "web"}, {"compromise", "-", "--yes"}, {"revoke", "--all"}, {"revoke", "web", "--yes"},
		{"disable", "web"}, {"enable", "--all"}, {"identify"}, {"identify", "-o", "yaml"}, {"verify"}, {"verify", "--scope", "a"}, {"verify", "-o", "json"},
		{"version"}, {"__complete", "rotate", ""}, {"__complete", "list", "--namespace", ""}, {clitest.Hostile}, {"rotate", clitest.Hostile}, {"describe", "-l", clitest.Hostile}, {"list", "-o", clitest.Hostile},
	}
	for _, output := range flags.ListOutputs {
		verbs = append(verbs, []string{"list", "-o", output}, []string{"list", "-A", "-o", output}, []string{"verifiers", "-o", output}, []string{"audit", "-o", output},
			[]string{"scan", "-", "-o", output}, []string{"scan", folder, "-o", output})
	}
	for standing, server := range servers {
		for _, args := range append(verbs, []string{"verify", "--url", server}, []string{"verify", "--url", server, "-o", "json"}) {
			stdin := key
			if args[0] == "scan" {
				stdin = history
			}
			if args[0] == "compromise" && len(args) == 2 || args[0] == "revoke" && args[1] == "--all" {
				stdin = "n\n"
			}
			out, said, _ := call(t, stdin, append(args, "--server="+server)...)
			what := standing + ": " + strings.Join(args, " ")
			isDocument := strings.Contains(what, "--html") || strings.Contains(what, "-o json") || strings.Contains(what, "-o yaml")
			checkText(t, what, out, !isDocument)
			checkText(t, what, said, true)
			checkDocument(t, what, out)
			if strings.Contains(said, "error: yaml") {
				t.Errorf("%s shows nothing, because of one text: %s", what, said)
			}
		}
	}
}

// advised matches the begin of a command that is advised, and what follows it in its line.
var advised = regexp.MustCompile(`kubectl (?:rollout restart|dgbot describe|get dgrec) .*`)

// checkText fails if a text acts on a terminal, has a line that another has written, or advises a command with more than plain words.
func checkText(t *testing.T, what, text string, isLines bool) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			t.Errorf("%s writes %U", what, r)
			break
		}
	}
	if !isLines {
		return
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimLeft(line, " \t\ufffd"), "FORGED") {
			t.Errorf("%s has a line that another has written: %.60q", what, line)
		}
		if strings.Contains(line, "          Ready   ") {
			t.Errorf("%s has columns that another has written: %.100q", what, line)
		}
	}
	for _, command := range advised.FindAllString(text, -1) {
		script := `kubectl() { :; }; curl() { echo RAN; }; sh() { echo RAN; }; ` + command
		if ran, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil || bytes.Contains(ran, []byte("RAN")) {
			t.Errorf("%s advises %.200q: %s, %v", what, command, ran, err)
		}
	}
}

// checkDocument fails if a page has an element or attribute that another has written, if a spreadsheet takes a cell for a formula, and if JSON
// or YAML is none.
func checkDocument(t *testing.T, what, text string) {
	t.Helper()
	switch {
	case text == "":
	case strings.Contains(what, "--html"):
		for _, never := range []string{"<script", "</script", "<img"} {
			if strings.Contains(text, never) {
				t.Errorf("%s has %q", what, never)
			}
		}
	case strings.Contains(what, "-o csv"):
		for _, separator := range ",;|" {
			reader := csv.NewReader(strings.NewReader(text))
			reader.Comma, reader.LazyQuotes, reader.FieldsPerRecord = separator, true, -1
			rows, err := reader.ReadAll()
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			for _, cell := range flatten(rows) {
				if strings.IndexAny(strings.TrimLeft(cell, " \"\ufffd"), "=+-@\uff1d") == 0 || strings.ContainsAny(cell, "\r\n") {
					t.Errorf("%s has, with the separator %c, the cell %.60q", what, separator, cell)
				}
			}
		}
	case strings.Contains(what, "-o json"):
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case strings.Contains(what, "-o yaml"):
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func flatten(rows [][]string) (all []string) {
	for _, row := range rows {
		all = append(all, row...)
	}
	return all
}

// writers are the files that may write without writef: those of writef itself, and the status line, which makes its text harmless.
var writers = []string{"display/harmless.go", "display/statusline.go"}

// TestVerbs_WriteOnlyThroughWritef holds the plugin to the functions of harmless.go: with fmt.Fprintf, an argument would be written as it is.
func TestVerbs_WriteOnlyThroughWritef(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || slices.Contains(writers, path) {
			return err
		}
		files++
		for _, found := range directWrites(t, path) {
			t.Errorf("%s: use writef", found)
		}
		return nil
	})
	if err != nil || files < 30 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// directWrites returns the calls in a file that print, each with its place.
func directWrites(t *testing.T, path string) (all []string) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	prints := regexp.MustCompile(`^(fmt\.(Fp|P)rint.*|io\.WriteString)$`)
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if from, ok := selector.X.(*ast.Ident); ok && prints.MatchString(from.Name+"."+selector.Sel.Name) {
				all = append(all, set.Position(node.Pos()).String()+": "+from.Name+"."+selector.Sel.Name)
			}
		}
		return true
	})
	return all
}
