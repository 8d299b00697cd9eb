// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var everyShape = flag.Bool("policy.every-shape", false, "measure every shape of every resource, which takes many minutes, and not only some of each")

// twinGroup is the API group of copies of our CRDs that have the same schema and no rules, and that no policy matches.
const twinGroup = "twin.example.com"

// spared are resources that the expressions of a policy see in the shape of a resource that is measured.
var spared = []string{
	"pods/ephemeralcontainers", "replicationcontrollers", "deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs",
	"dgbotapikeys/status", "dgbotchatbots/status", "dgbotenvironments/status", "dgbotapikeyrecords/status",
}

// sample is one write that is measured: of an object that policies match, and of its twin, which they do not.
type sample struct {
	resource, shape, verb string
	object, twin          *unstructured.Unstructured
	within, without       time.Duration
	// ordinary is the median of what the writes of all twins take.
	ordinary time.Duration
	// spent is the time that the API server reports for each policy, on average of the writes.
	spent map[string]time.Duration
	// cancelled are the policies of which the API server cancelled an expression because it exceeded its cost budget.
	cancelled []string
	outcome   error
}

func (s *sample) String() string { return s.verb + " " + s.resource + " with " + s.shape }

var policyName = regexp.MustCompile(`ValidatingAdmissionPolicy '[^']*'`)

// policyMetrics are the API server's metrics of each policy: seconds, and expressions that were cancelled.
type policyMetrics struct{ spent, cancelled map[string]float64 }

var metricLine = regexp.MustCompile(`^apiserver_(validating_admission_policy_check_duration_seconds_sum|validating_admission_policy_check_total|` +
	`admission_match_condition_evaluation_seconds_sum|admission_match_condition_evaluation_errors_total)\{(.*)\} (\S+)$`)

func readPolicyMetrics(ctx context.Context, t *testing.T, clients kubernetes.Interface) policyMetrics {
	t.Helper()
	text, err := clients.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	must(t, err)
	read := policyMetrics{spent: map[string]float64{}, cancelled: map[string]float64{}}
	label := regexp.MustCompile(`(?:^|,)(?:policy|name)="([^"]*)"`)
	for line := range strings.Lines(string(text)) {
		match := metricLine.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			continue
		}
		name := label.FindStringSubmatch(match[2])
		value, err := strconv.ParseFloat(match[3], 64)
		if name == nil || err != nil {
			t.Fatalf("cannot read the metric %s", line)
		}
		switch {
		case strings.HasSuffix(match[1], "_seconds_sum"):
			read.spent[name[1]] += value
		case strings.HasSuffix(match[1], "_errors_total"), // of a match condition
			strings.Contains(match[2], `enforcement_action="allow"`) && !strings.Contains(match[2], `error_type="no_error"`): // failurePolicy Ignore
			read.cancelled[name[1]] += value
		}
	}
	return read
}

// measurer writes objects as users who have no right that would spare a policy an expression.
type measurer struct {
	clients kubernetes.Interface
	// writers by verb: who may update is not asked by dgbot-rotators what else changes.
	writers map[string]client.Client
	// remover is what garbage collection is: a user who may update and delete everything and has no other right.
	remover client.Client
}

// write sends one write without storing it, and returns how long the API server took.
func (m *measurer) write(ctx context.Context, verb string, stored *unstructured.Unstructured) (time.Duration, error) {
	object, writer := stored.DeepCopy(), m.writers[verb]
	var send func() error
	switch verb {
	case "create":
		object.SetName(object.GetName() + "x")
		object.SetResourceVersion("")
		object.SetManagedFields(nil)
		send = func() error { return writer.Create(ctx, object, client.DryRunAll) }
	case "update":
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels["example.com/touched"] = "now"
		object.SetLabels(labels)
		send = func() error { return writer.Update(ctx, object, client.DryRunAll) }
	default:
		patch := removeLast(stored)
		object = &unstructured.Unstructured{}
		object.SetGroupVersionKind(stored.GroupVersionKind())
		object.SetName(stored.GetName())
		object.SetNamespace(stored.GetNamespace())
		send = func() error { return writer.Patch(ctx, object, patch, client.DryRunAll) }
	}
	began := time.Now()
	err := send()
	return time.Since(began), err
}

// removeLast returns the patch that garbage collection and controllers make: it takes away the last owner reference or finalizer, so
// that all others are compared with those before. An object with neither is annotated.
func removeLast(o *unstructured.Unstructured) client.Patch {
	for path, n := range map[string]int{"ownerReferences": len(o.GetOwnerReferences()), "finalizers": len(o.GetFinalizers())} {
		if n > 0 {
			return client.RawPatch(types.JSONPatchType, fmt.Appendf(nil, `[{"op":"remove","path":"/metadata/%s/%d"}]`, path, n-1))
		}
	}
	return client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/touched":"now"}}}`))
}

// writeTwin keeps the fastest time of the twin.
func (m *measurer) writeTwin(ctx context.Context, t *testing.T, s *sample) {
	t.Helper()
	took, err := m.write(ctx, s.verb, s.twin)
	if err != nil {
		t.Fatalf("%s: the twin: %v", s, err)
	}
	s.without = min(s.without, took)
}

// measure takes the fastest of up to most writes: what else the machine does only adds. There are more of them, of object and twin in turn,
// while they seem to take too long.
func (m *measurer) measure(ctx context.Context, t *testing.T, s *sample, most int) {
	t.Helper()
	s.within, s.spent, s.cancelled = time.Hour, map[string]time.Duration{}, nil
	before, writes := readPolicyMetrics(ctx, t, m.clients), 0
	for ; s.ratio() > mostTimes && writes < most; writes++ {
		if writes > 0 {
			m.writeTwin(ctx, t, s)
		}
		var took time.Duration
		took, s.outcome = m.write(ctx, s.verb, s.object)
		// A write that a policy rejects takes as long.
		if s.outcome != nil && !apierrors.IsForbidden(s.outcome) && !apierrors.IsInvalid(s.outcome) {
			t.Fatalf("%s: %v", s, s.outcome)
		}
		s.within = min(s.within, took)
	}
	after := readPolicyMetrics(ctx, t, m.clients)
	for name, n := range after.cancelled {
		if n > before.cancelled[name] {
			s.cancelled = append(s.cancelled, name)
		}
	}
	if s.outcome != nil && (strings.Contains(s.outcome.Error(), "cost limit exceeded") || strings.Contains(s.outcome.Error(), "cost budget")) {
		s.cancelled = append(s.cancelled, policyName.FindString(s.outcome.Error())) // failurePolicy Fail
	}
	for name, n := range after.spent {
		s.spent[name] = time.Duration((n - before.spent[name]) / float64(writes) * float64(time.Second))
	}
	t.Logf("%s: %.1f times (%s, %s), of which %s; cancelled %v; %.150v", s, s.ratio(),
		s.within.Round(time.Millisecond), s.without.Round(time.Millisecond), s.dearest(), s.cancelled, s.outcome)
}

// ratio compares with the time of the twin, and at least with that of an ordinary large object: the search for keys takes as long as writing
// one, also in an object that is cheap to write because all its bytes are in one value.
func (s *sample) ratio() float64 { return float64(s.within) / float64(max(s.without, s.ordinary)) }

// dearest names the policies that took more than a hundredth of the write.
func (s *sample) dearest() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.spent)) {
		if s.spent[name] > s.within/100 {
			all = append(all, fmt.Sprintf("%s %d%%", name, 100*s.spent[name]/s.within))
		}
	}
	return strings.Join(all, ", ")
}

// TestPolicies_CostLittleAtTheLargestObjects: a write of an object at the limits of the API server takes about as long with all policies
// and all rules of the CRDs as without any. A policy that grew with the square of an object's entries occupied the API server for seconds
// with each write, of keys and of other objects alike. make soak measures every shape; otherwise it is those that once took longer.
func TestPolicies_CostLittleAtTheLargestObjects(t *testing.T) {
	m := newMeasurer(t)
	checkCostlyKinds(t)
	createTwinKinds(t)
	must(t, admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "costly"}}))
	for _, resource := range slices.Sorted(maps.Keys(costlyKinds)) {
		t.Run(resource, func(t *testing.T) {
			samples := createSamples(t, resource)
			m.setOrdinary(t, samples)
			for _, s := range samples {
				m.measure(t.Context(), t, s, 10)
				if s.ratio() > mostTimes {
					t.Errorf("%s takes %.1f times as long with the policies as without", s, s.ratio())
				}
				if len(s.cancelled) > 0 {
					t.Errorf("%s exceeds the cost budget of %v", s, s.cancelled)
				}
			}
			if resource == "dgbotapikeys" {
				t.Run("finds a quadratic policy", func(t *testing.T) { checkFindsQuadraticPolicy(t, m, samples) })
			}
			m.checkRemovable(t, samples)
		})
	}
}

// mostTimes is how much longer a write of the largest objects may take with the policies and rules. The search of many values for keys
// takes about 5 times as long. It is bounded, and done only if there is a key in one of them. A quadratic policy takes longer, or its
// expression is cancelled.
const mostTimes = 8

func (m *measurer) setOrdinary(t *testing.T, samples []*sample) {
	t.Helper()
	var all []time.Duration
	for _, s := range samples {
		s.without = time.Hour
		m.writeTwin(t.Context(), t, s)
		all = append(all, s.without)
	}
	slices.Sort(all)
	for _, s := range samples {
		s.ordinary = all[len(all)/2]
	}
}

func newMeasurer(t *testing.T) *measurer {
	t.Helper()
	clients, err := kubernetes.NewForConfig(cluster.Config)
	must(t, err)
	patcher := writerWith(t, "patch", "delete")
	editor := writerWith(t, "create", "update", "delete")
	return &measurer{clients: clients, writers: map[string]client.Client{"create": editor, "update": editor, "patch": patcher},
		remover: writerWith(t, "get", "update", "patch", "delete")}
}

// writerWith returns a client of a user who has these verbs and no other. Setting an owner reference of an object needs the right to
// delete it.
func writerWith(t *testing.T, verbs ...string) client.Client {
	t.Helper()
	name := "only-" + strings.Join(verbs, "-")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: verbs}}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	must(t, admin.Create(t.Context(), role))
	must(t, admin.Create(t.Context(), binding))
	config := rest.CopyConfig(cluster.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	config.WarningHandler = rest.NoWarnings{}
	config.QPS = -1
	writer, err := client.New(config, client.Options{})
	must(t, err)
	return writer
}
