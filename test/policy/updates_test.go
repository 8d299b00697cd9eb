// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/apikey"
)

// leaky makes a namespace that holds the objects, and only then rejects keys.
func leaky(t *testing.T, name string, objects ...client.Object) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: map[string]string{label: "allow"}}}
	must(t, admin.Create(t.Context(), namespace))
	for _, object := range objects {
		object.SetNamespace(namespace.Name)
		must(t, admin.Create(t.Context(), object))
	}
	namespace.Labels[label] = "deny"
	must(t, admin.Update(t.Context(), namespace))
	// The API server's policies go by what its watch of namespaces has seen.
	probe := configMap(map[string]string{"x": key})
	probe.Name = "probe"
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		said, err := create(ctx, namespace.Name, probe)
		return said.refusal != "", err
	})
	must(t, err)
}

func update(t *testing.T, object client.Object) said {
	t.Helper()
	result, err := during(func() error { return admin.Update(t.Context(), object, client.DryRunAll) })
	must(t, err)
	return result
}

func TestUpdatesOfALeakyConfigMap(t *testing.T) {
	another, err := apikey.Mint("staging")
	must(t, err)
	old := configMap(map[string]string{"leak": key, "x": "y"})
	leaky(t, "held-configmap", old)
	for name, c := range map[string]struct {
		data map[string]string
		want func(t *testing.T, got said)
	}{
		"what does not touch it passes": {map[string]string{"leak": key, "x": "z", "new": "value"}, func(t *testing.T, got said) {
			got.expect(t, []string{kept(`data "leak"`)}, "")
		}},
		"removing it passes": {map[string]string{"x": "y"}, func(t *testing.T, got said) { got.expect(t, nil, "") }},
		"another place is refused, and only that is named": {map[string]string{"leak": key, "x": key}, func(t *testing.T, got said) {
			got.expect(t, []string{kept(`data "leak"`)}, found(`data "x"`))
		}},
		"another key is refused": {map[string]string{"leak": another.Reveal()}, func(t *testing.T, got said) {
			got.expect(t, nil, found(`data "leak"`))
		}},
		"another text around it is refused": {map[string]string{"leak": "key: " + key}, func(t *testing.T, got said) {
			got.expect(t, nil, found(`data "leak"`))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := old.DeepCopy()
			changed.Data = c.data
			c.want(t, update(t, changed))
		})
	}
}

func TestUpdatesOfALeakyWorkload(t *testing.T) {
	leaks := []func(*corev1.PodSpec){env("TOKEN", key), func(s *corev1.PodSpec) {
		s.Containers[1].Args, s.Containers[1].Command = []string{key, "-v"}, []string{"run", key}
	}}
	const places = `container "web" env "TOKEN", container "sidecar" args, container "sidecar" command`
	for kind, object := range workloads(leaks...) {
		t.Run(kind, func(t *testing.T) {
			leaky(t, "held-"+strings.ToLower(kind), object)
			labelled, ok := object.DeepCopyObject().(client.Object)
			if !ok {
				t.Fatalf("%T is no object", object)
			}
			labelled.SetLabels(map[string]string{"team": "support"})
			labelled.SetFinalizers([]string{"example.org/tracked"})
			update(t, labelled).expect(t, []string{kept(places)}, "")
		})
	}

	old, ok := workloads(leaks...)["Deployment"].(*appsv1.Deployment)
	if !ok {
		t.Fatal("no Deployment")
	}
	leaky(t, "held", old)
	for name, c := range map[string]struct {
		change   func(*corev1.PodSpec)
		warnings []string
		refusal  string
	}{
		"another image":             {func(s *corev1.PodSpec) { s.Containers[0].Image = "example/web:2" }, []string{kept(places)}, ""},
		"another innocent variable": {env("X", "y"), []string{kept(places)}, ""},
		"another innocent argument": {func(s *corev1.PodSpec) { s.Containers[1].Args = []string{"-q", key} }, []string{kept(places)}, ""},
		"another variable with it":  {env("X", key), []string{kept(places)}, found(`container "web" env "X"`)},
		"another argument with it":  {func(s *corev1.PodSpec) { s.Containers[1].Args[0] = "--key=" + key }, []string{kept(`container "web" env "TOKEN", container "sidecar" command`)}, found(`container "sidecar" args`)},
		"another container with it": {func(s *corev1.PodSpec) { s.InitContainers[0].Args = []string{"x", key + "."} }, []string{kept(places)}, found(`init container "wait" args`)},
		"the same variable in another container": {
			func(s *corev1.PodSpec) { s.Containers[1].Env = s.Containers[0].Env }, []string{kept(places)}, found(`container "sidecar" env "TOKEN"`)},
		"the same argument in another container": {
			func(s *corev1.PodSpec) { s.InitContainers[0].Args = []string{key} }, []string{kept(places)}, found(`init container "wait" args`)},
		"the variable is taken away": {func(s *corev1.PodSpec) { s.Containers[0].Env = nil }, []string{kept(`container "sidecar" args, container "sidecar" command`)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			changed := old.DeepCopy()
			c.change(&changed.Spec.Template.Spec)
			update(t, changed).expect(t, c.warnings, c.refusal)
		})
	}
	t.Run("scale", func(t *testing.T) {
		got, err := during(func() error {
			return admin.SubResource("scale").Update(t.Context(), old.DeepCopy(), client.WithSubResourceBody(
				&autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: old.Name, Namespace: old.Namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: 3}}))
		})
		must(t, err)
		got.expect(t, nil, "")
	})
	t.Run("status", func(t *testing.T) {
		changed := old.DeepCopy()
		changed.ResourceVersion = ""
		changed.Status.ObservedGeneration = 1
		got, err := during(func() error { return admin.Status().Update(t.Context(), changed) })
		must(t, err)
		got.expect(t, nil, "")
	})
}

// The costliest update there is: as many keys as are searched, each looked for among as many values as are searched.
func TestAnUpdateOfTheLargestLeakyWorkload(t *testing.T) {
	old, ok := workloads(manyContainers(240), manyEnv(4_945, "dgbot_"+strings.Repeat("a b ", 20)), manyEnv(50, key))["Deployment"].(*appsv1.Deployment)
	if !ok {
		t.Fatal("no Deployment")
	}
	leaky(t, "held-large", old)
	old.Labels = map[string]string{"team": "support"}
	got := update(t, old)
	if got.refusal != "" || len(got.warnings) != 1 || !strings.Contains(got.warnings[0], "as it did before this update, in container \"web\" env") {
		t.Errorf("warned: %q, refused: %s", got.warnings, got.refusal)
	}
}

// An ordinary namespace warns at every write until the key is gone.
func TestWarningsGoOn(t *testing.T) {
	object := configMap(map[string]string{"leak": key})
	object.Name, object.GenerateName, object.Namespace = "", "goes-on-", ordinary
	must(t, admin.Create(t.Context(), object))
	object.Labels = map[string]string{"team": "support"}
	update(t, object).expect(t, []string{found(`data "leak"`)}, "")
	object.Data = nil
	update(t, object).expect(t, nil, "")
}

// kubectl debug adds containers to a Pod that runs, its own or a controller's. What the Pod held before is not their matter.
func TestEphemeralContainers(t *testing.T) {
	yes := true
	for name, owners := range map[string][]metav1.OwnerReference{
		"a-pod":          nil,
		"a-workload-pod": {{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "0-0", Controller: &yes}},
	} {
		t.Run(name, func(t *testing.T) {
			running := pod(env("TOKEN", key))
			running.OwnerReferences = owners
			leaky(t, name, running)
			debug := func(value string) said {
				changed := running.DeepCopy()
				changed.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
					Name: "debug", Image: "example/shell", Env: []corev1.EnvVar{{Name: "TOKEN", Value: value}},
					ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
				}}}
				got, err := during(func() error {
					return admin.SubResource("ephemeralcontainers").Update(t.Context(), changed, client.DryRunAll)
				})
				must(t, err)
				return got
			}
			debug("innocent").expect(t, nil, "")
			debug(key+" in another text").expect(t, nil, found(`ephemeral container "debug" env "TOKEN"`))
		})
	}
}
