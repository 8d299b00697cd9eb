// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// podSpec returns the spec of a Pod without a key.
func podSpec(changes ...func(*corev1.PodSpec)) corev1.PodSpec {
	spec := corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "wait", Image: "example/wait"}},
		Containers: []corev1.Container{
			{Name: "web", Image: "example/web", Command: []string{"serve"}, Args: []string{"--key-from=$(DGBOT_API_KEY)"}, Env: []corev1.EnvVar{
				{Name: "DGBOT_API_KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: "website-backend"}, Key: "api-key",
				}}},
				{Name: "EMPTY"},
				{Name: "DGBOT_KEY_ID", Value: "dgbot_production_7Hq2xV0aBcD9_…"},
			}},
			{Name: "sidecar", Image: "example/sidecar"},
		},
	}
	for _, change := range changes {
		change(&spec)
	}
	return spec
}

func env(name, value string) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		spec.Containers[0].Env = append(spec.Containers[0].Env, corev1.EnvVar{Name: name, Value: value})
	}
}

func pod(changes ...func(*corev1.PodSpec)) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: podSpec(changes...)}
}

// workloads are all kinds that hold containers, each around the same Pod.
func workloads(changes ...func(*corev1.PodSpec)) map[string]client.Object {
	labels := map[string]string{"app": "web"}
	meta := metav1.ObjectMeta{Name: "web"}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(changes...)}
	once := *template.DeepCopy()
	once.Spec.RestartPolicy = corev1.RestartPolicyNever
	return map[string]client.Object{
		"Pod":                   pod(changes...),
		"Deployment":            &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}},
		"StatefulSet":           &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}},
		"DaemonSet":             &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
		"ReplicaSet":            &appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}},
		"ReplicationController": &corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &template}},
		"Job":                   &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: once}},
		"CronJob": &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{
			Schedule: "0 3 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: once}},
		}},
	}
}

// everywhere expects a warning in an ordinary namespace, a refusal in a strict one and nothing in an exempt one.
func everywhere(t *testing.T, object client.Object, places string) {
	t.Helper()
	mustCreate(t, ordinary, object).expect(t, []string{found(places)}, "")
	mustCreate(t, strict, object).expect(t, nil, found(places))
	mustCreate(t, exempt, object).expect(t, nil, "")
}

// silent expects that nothing is said anywhere.
func silent(t *testing.T, object client.Object) {
	t.Helper()
	for _, namespace := range []string{ordinary, strict, exempt} {
		mustCreate(t, namespace, object).expect(t, nil, "")
	}
}

func TestAKeyInAConfigMap(t *testing.T) {
	everywhere(t, configMap(map[string]string{"config.yaml": "a: b\n\ndgbot: {key: \"" + key + "\"}\n", "other": "innocent"}), `data "config.yaml"`)
}

func TestAKeyInEveryPlaceOfEveryWorkload(t *testing.T) {
	for place, change := range map[string]func(*corev1.PodSpec){
		`container "web" env "TOKEN"`: env("TOKEN", key),
		`container "web" args`:        func(s *corev1.PodSpec) { s.Containers[0].Args = []string{"-v", "--key=" + key} },
		`container "web" command`:     func(s *corev1.PodSpec) { s.Containers[0].Command = []string{"sh", "-c", "KEY=" + key + " exec serve"} },
		`container "sidecar" env "A"`: func(s *corev1.PodSpec) { s.Containers[1].Env = []corev1.EnvVar{{Name: "A", Value: key}} },
		`init container "wait" env "A"`: func(s *corev1.PodSpec) {
			s.InitContainers[0].Env = []corev1.EnvVar{{Name: "A", Value: "https://example.org/?key=" + key + "&x=y"}}
		},
		`init container "wait" args`:    func(s *corev1.PodSpec) { s.InitContainers[0].Args = []string{key} },
		`init container "wait" command`: func(s *corev1.PodSpec) { s.InitContainers[0].Command = []string{key} },
	} {
		for kind, object := range workloads(change) {
			t.Run(kind+" "+place, func(t *testing.T) { everywhere(t, object, place) })
		}
	}
}

func TestWorkloadsThatReadTheSecretPass(t *testing.T) {
	for kind, object := range workloads() {
		t.Run(kind, func(t *testing.T) { silent(t, object) })
	}
}

func TestSeveralPlacesAreAllNamed(t *testing.T) {
	everywhere(t, pod(env("A", key), env("B", "x"), env("C", key), func(s *corev1.PodSpec) { s.Containers[1].Args = []string{key} }),
		`container "web" env "A", container "web" env "C", container "sidecar" args`)
}

func TestANameThatIsAKeyIsNotShown(t *testing.T) {
	everywhere(t, configMap(map[string]string{key: key}), `data "(a key)"`)
	everywhere(t, pod(env(key, key)), `container "web" env "(a key)"`)
}

func TestAnyOtherLabelWarns(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "misspelt-", Labels: map[string]string{label: "Deny"}}}
	must(t, admin.Create(t.Context(), namespace))
	mustCreate(t, namespace.Name, configMap(map[string]string{"x": key})).expect(t, []string{found(`data "x"`)}, "")
}

// What a workload of these kinds has made was searched in the workload. A refusal would stop what runs.
func TestWhatAWorkloadMakesPasses(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		owner  metav1.OwnerReference
		passes bool
	}{
		"a ReplicaSet's":                 {metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Controller: &yes}, true},
		"a StatefulSet's":                {metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Controller: &yes}, true},
		"a DaemonSet's":                  {metav1.OwnerReference{APIVersion: "apps/v1", Kind: "DaemonSet", Controller: &yes}, true},
		"a Job's":                        {metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Controller: &yes}, true},
		"a ReplicationController's":      {metav1.OwnerReference{APIVersion: "v1", Kind: "ReplicationController", Controller: &yes}, true},
		"of a kind that is not searched": {metav1.OwnerReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow", Controller: &yes}, false},
		"of a kind with a known name":    {metav1.OwnerReference{APIVersion: "apps.example.org/v1", Kind: "ReplicaSet", Controller: &yes}, false},
		"owned, but not controlled":      {metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Controller: &no}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.owner.Name, c.owner.UID = "web", "0-0"
			object := pod(env("TOKEN", key))
			object.OwnerReferences = []metav1.OwnerReference{c.owner}
			if c.passes {
				silent(t, object)
			} else {
				everywhere(t, object, `container "web" env "TOKEN"`)
			}
		})
	}
	for kind, owner := range map[string]metav1.OwnerReference{
		"ReplicaSet": {APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "0-0", Controller: &yes},
		"Job":        {APIVersion: "batch/v1", Kind: "CronJob", Name: "web", UID: "0-0", Controller: &yes},
	} {
		t.Run(kind, func(t *testing.T) {
			object := workloads(env("TOKEN", key))[kind]
			object.SetOwnerReferences([]metav1.OwnerReference{owner})
			silent(t, object)
		})
	}
}

// No workload makes these: an owner reference that a user wrote there does not hide a key.
func TestAnOwnerHidesNothingElse(t *testing.T) {
	yes := true
	owner := []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "0-0", Controller: &yes}}
	settings := configMap(map[string]string{"x": key})
	settings.OwnerReferences = owner
	everywhere(t, settings, `data "x"`)
	for _, kind := range []string{"Deployment", "StatefulSet", "CronJob"} {
		t.Run(kind, func(t *testing.T) {
			object := workloads(env("TOKEN", key))[kind]
			object.SetOwnerReferences(owner)
			everywhere(t, object, `container "web" env "TOKEN"`)
		})
	}
}

// What is not searched. These are limits that docs/leaks.md states; a change here changes the page.
func TestWhatIsNotSearched(t *testing.T) {
	binary := configMap(nil)
	binary.BinaryData = map[string][]byte{"blob": []byte(key)}
	silent(t, binary)
	annotated := configMap(nil)
	annotated.Annotations = map[string]string{"note": key}
	silent(t, annotated)
	silent(t, configMap(map[string]string{key: "the name of an entry"}))
	silent(t, pod(func(s *corev1.PodSpec) {
		s.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Port: intstr.FromInt32(80), HTTPHeaders: []corev1.HTTPHeader{{Name: "Authorization", Value: "Bearer " + key}},
		}}}
	}))
	silent(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "website-backend"}, StringData: map[string]string{"api-key": key}})
}

// A warning is in the audit log as well, for those who have to find out how a key got out.
func TestWarningsAreAudited(t *testing.T) {
	object := configMap(map[string]string{"audited": key})
	object.Name = "audited"
	mustCreate(t, ordinary, object).expect(t, []string{found(`data "audited"`)}, "")
	file, err := os.Open(audit)
	must(t, err)
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		if strings.Contains(lines.Text(), key[len(key)-20:]) {
			t.Error("the audit log shows the key")
		}
		var event struct{ Annotations map[string]string }
		must(t, json.Unmarshal(lines.Bytes(), &event))
		if strings.Contains(event.Annotations["validation.policy.admission.k8s.io/validation_failure"], `data \"audited\"`) {
			return
		}
	}
	must(t, lines.Err())
	t.Error("the audit log does not mention the leak")
}
