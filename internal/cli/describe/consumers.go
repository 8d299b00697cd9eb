// SPDX-License-Identifier: Apache-2.0

package describe

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"

	"dgbot.io/key-operator/internal/cli/display"
)

// effect is how a workload gets to a new key.
type effect string

const (
	// follows: the kubelet updates the mounted files, within about a minute.
	follows effect = "Follows"
	// needsRestart: environment variables, and files mounted with subPath, stay as they were when the container started.
	needsRestart effect = "NeedsRestart"
	// nextRun: its next Pod reads the new one.
	nextRun effect = "NextRun"
)

// consumer is a workload that reads a Secret.
type consumer struct {
	// Group is empty for the kinds of Kubernetes itself.
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	// Uses are where in it the Secret stands.
	Uses   []string `json:"uses"`
	Effect effect   `json:"effect"`
	// Reloader says that Stakater's Reloader is asked to restart it.
	Reloader bool `json:"reloader,omitempty"`
}

// Reloader's annotations.
const (
	reloaderAuto       = "reloader.stakater.com/auto"
	reloaderAutoSecret = "secret.reloader.stakater.com/auto"
	reloaderSecrets    = "secret.reloader.stakater.com/reload"
)

// workload is anything that has Pods.
type workload struct {
	kind string
	metav1.Object
	pods *corev1.PodTemplateSpec
}

// workloads lists one kind. Whose Pods are those of another kind that is looked at is left out.
type workloads struct {
	kind string
	list func(ctx context.Context, client kubernetes.Interface, namespace string, page metav1.ListOptions) (runtime.Object, error)
	take func(o runtime.Object) *workload
}

var kindsOfWorkloads = []workloads{
	{"deployments.apps", func(ctx context.Context, c kubernetes.Interface, ns string, page metav1.ListOptions) (runtime.Object, error) {
		return c.AppsV1().Deployments(ns).List(ctx, page)
	}, func(o runtime.Object) *workload {
		if d, ok := o.(*appsv1.Deployment); ok {
			return &workload{"Deployment", d, &d.Spec.Template}
		}
		return nil
	}},
	{"statefulsets.apps", func(ctx context.Context, c kubernetes.Interface, ns string, page metav1.ListOptions) (runtime.Object, error) {
		return c.AppsV1().StatefulSets(ns).List(ctx, page)
	}, func(o runtime.Object) *workload {
		if s, ok := o.(*appsv1.StatefulSet); ok {
			return &workload{"StatefulSet", s, &s.Spec.Template}
		}
		return nil
	}},
	{"daemonsets.apps", func(ctx context.Context, c kubernetes.Interface, ns string, page metav1.ListOptions) (runtime.Object, error) {
		return c.AppsV1().DaemonSets(ns).List(ctx, page)
	}, func(o runtime.Object) *workload {
		if d, ok := o.(*appsv1.DaemonSet); ok {
			return &workload{"DaemonSet", d, &d.Spec.Template}
		}
		return nil
	}},
	{"cronjobs.batch", func(ctx context.Context, c kubernetes.Interface, ns string, page metav1.ListOptions) (runtime.Object, error) {
		return c.BatchV1().CronJobs(ns).List(ctx, page)
	}, func(o runtime.Object) *workload {
		if j, ok := o.(*batchv1.CronJob); ok {
			return &workload{"CronJob", j, &j.Spec.JobTemplate.Spec.Template}
		}
		return nil
	}},
	{"jobs.batch", func(ctx context.Context, c kubernetes.Interface, ns string, page metav1.ListOptions) (runtime.Object, error) {
		return c.BatchV1().Jobs(ns).List(ctx, page)
	}, func(o runtime.Object) *workload {
		if j, ok := o.(*batchv1.Job); ok && !ownedBy(j, "CronJob") {
			return &workload{"Job", j, &j.Spec.Template}
		}
		return nil
	}},
	{"replicasets.apps", func(ctx context.Context, c kubernetes.Interface, ns string, page metav1.ListOptions) (runtime.Object, error) {
		return c.AppsV1().ReplicaSets(ns).List(ctx, page)
	}, func(o runtime.Object) *workload {
		if r, ok := o.(*appsv1.ReplicaSet); ok && !ownedBy(r, "Deployment") && (r.Spec.Replicas == nil || *r.Spec.Replicas > 0) {
			return &workload{"ReplicaSet", r, &r.Spec.Template}
		}
		return nil
	}},
	{"pods", func(ctx context.Context, c kubernetes.Interface, ns string, page metav1.ListOptions) (runtime.Object, error) {
		return c.CoreV1().Pods(ns).List(ctx, page)
	}, func(o runtime.Object) *workload {
		if p, ok := o.(*corev1.Pod); ok && !ownedBy(p, "ReplicaSet", "StatefulSet", "DaemonSet", "Job") &&
			p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			return &workload{"Pod", p, &corev1.PodTemplateSpec{Spec: p.Spec}}
		}
		return nil
	}},
}

// ownedBy reports whether an object's controller is of one of some built-in kinds.
func ownedBy(o metav1.Object, kinds ...string) bool {
	controller := metav1.GetControllerOfNoCopy(o)
	return controller != nil && slices.Contains(kinds, controller.Kind) &&
		(strings.HasPrefix(controller.APIVersion, "apps/") || strings.HasPrefix(controller.APIVersion, "batch/"))
}

// workloadsOf lists everything in a namespace that has Pods, as far as the user may list them.
func workloadsOf(ctx context.Context, client kubernetes.Interface, namespace string) (all []workload, notes []string, err error) {
	for _, kind := range kindsOfWorkloads {
		pages := pager.New(func(ctx context.Context, page metav1.ListOptions) (runtime.Object, error) {
			return kind.list(ctx, client, namespace, page)
		})
		err := pages.EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error {
			if w := kind.take(o); w != nil {
				all = append(all, *w)
			}
			return nil
		})
		switch {
		case apierrors.IsForbidden(err):
			notes = append(notes, fmt.Sprintf("you may not list %s in namespace %q: those that read the Secret are not shown", kind.kind, namespace))
		case err != nil:
			return nil, nil, err
		}
	}
	return all, notes, nil
}

// consumersIn are the workloads that read a Secret, each once: what is seen several times, such as a Rollout by each of its ReplicaSets,
// is merged.
func consumersIn(workloads []workload, secret string) []consumer {
	all := []consumer{}
	for i := range workloads {
		c := consumptionOf(&workloads[i], secret)
		if c == nil {
			continue
		}
		if at := slices.IndexFunc(all, func(other consumer) bool { return other.title() == c.title() }); at >= 0 {
			all[at].merge(c)
		} else {
			all = append(all, *c)
		}
	}
	slices.SortFunc(all, func(a, b consumer) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// effects are in order: the last one wants the most attention.
var effects = []effect{follows, nextRun, needsRestart}

// merge adds what is known of a workload from another of its templates, and keeps the worst.
func (c *consumer) merge(other *consumer) {
	for _, use := range other.Uses {
		if !slices.Contains(c.Uses, use) {
			c.Uses = append(c.Uses, use)
		}
	}
	// Reloader has to restart the template that needs it.
	switch worse := cmp.Compare(slices.Index(effects, other.Effect), slices.Index(effects, c.Effect)); {
	case worse > 0:
		c.Effect, c.Reloader = other.Effect, other.Reloader
	case worse == 0:
		c.Reloader = c.Reloader && other.Reloader
	}
}

// title is how kubectl names the workload.
func (c *consumer) title() string {
	kind := c.Kind
	if c.Group != "" {
		kind += "." + c.Group
	}
	return kind + "/" + c.Name
}

// kindName matches the names of kinds that the API server accepts in a CRD.
var kindName = regexp.MustCompile(`^[A-Za-z][0-9A-Za-z]{0,62}$`)

// foreignController returns the controller of a workload if it is of a kind that is not in kindsOfWorkloads, such as a Rollout of Argo. The
// API server does not check owner references. So it returns nil for a reference that no object can have, and for one to a kind that is in
// kindsOfWorkloads: the workload itself is what was listed, and its name was checked.
func foreignController(o metav1.Object) (group string, controller *metav1.OwnerReference) {
	controller = metav1.GetControllerOfNoCopy(o)
	if controller == nil {
		return "", nil
	}
	version, err := schema.ParseGroupVersion(controller.APIVersion)
	if err != nil || !kindName.MatchString(controller.Kind) || !display.IsName(controller.Name) {
		return "", nil
	}
	switch group = version.Group; group {
	case appsv1.GroupName, batchv1.GroupName:
		return "", nil
	case corev1.GroupName:
		if controller.Kind != "ReplicationController" {
			return "", nil
		}
	default:
		if !display.IsName(group) {
			return "", nil
		}
	}
	return group, controller
}

// consumptionOf describes how a workload reads a Secret; nil where it does not. It goes by the name of what controls the workload.
func consumptionOf(w *workload, secret string) *consumer {
	uses, restart := usesOf(&w.pods.Spec, secret)
	if len(uses) == 0 {
		return nil
	}
	c := &consumer{Kind: w.kind, Name: w.GetName(), Uses: uses, Effect: follows}
	if group, controller := foreignController(w); controller != nil {
		c.Group, c.Kind, c.Name = group, controller.Kind, controller.Name
	}
	switch {
	case w.kind == "CronJob":
		c.Effect = nextRun
	case restart:
		c.Effect = needsRestart
	}
	for _, annotations := range []map[string]string{w.GetAnnotations(), w.pods.Annotations} {
		named := slices.ContainsFunc(strings.Split(annotations[reloaderSecrets], ","), func(name string) bool { return strings.TrimSpace(name) == secret })
		c.Reloader = c.Reloader || named || annotations[reloaderAuto] == "true" || annotations[reloaderAutoSecret] == "true"
	}
	return c
}

// usesOf returns where a Pod names a Secret, each place once, and whether one of these places keeps the old key until the Pod is replaced.
func usesOf(pod *corev1.PodSpec, secret string) (uses []string, restart bool) {
	volumes := map[string]bool{}
	for i := range pod.Volumes {
		if mountsSecret(&pod.Volumes[i], secret) {
			volumes[pod.Volumes[i].Name] = true
		}
	}
	add := func(use string, keepsOld bool) {
		if !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
		restart = restart || keepsOld
	}
	for _, c := range containersOf(pod) {
		for _, env := range c.Env {
			if from := env.ValueFrom; from != nil && from.SecretKeyRef != nil && from.SecretKeyRef.Name == secret {
				add(fmt.Sprintf("environment variable %s of %s", env.Name, c.title), true)
			}
		}
		for _, env := range c.EnvFrom {
			if env.SecretRef != nil && env.SecretRef.Name == secret {
				add("environment variables of "+c.title, true)
			}
		}
		for _, mount := range c.VolumeMounts {
			switch {
			case !volumes[mount.Name]:
			case mount.SubPath != "" || mount.SubPathExpr != "":
				add(fmt.Sprintf("file %s (subPath) of %s", mount.MountPath, c.title), true)
			default:
				add(fmt.Sprintf("volume at %s of %s", mount.MountPath, c.title), c.endsBeforeOthers)
			}
		}
	}
	return uses, restart
}

// titledContainer is a container of a Pod, of whatever kind.
type titledContainer struct {
	corev1.Container
	title string
	// endsBeforeOthers: whatever it has read and passed on stays as it is.
	endsBeforeOthers bool
}

// containersOf are all containers of a Pod. An init container that is always restarted is a sidecar, which runs on.
func containersOf(pod *corev1.PodSpec) []titledContainer {
	var all []titledContainer
	for _, c := range pod.InitContainers {
		isSidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		all = append(all, titledContainer{c, "init container " + c.Name, !isSidecar})
	}
	for _, c := range pod.Containers {
		all = append(all, titledContainer{c, "container " + c.Name, false})
	}
	for _, c := range pod.EphemeralContainers {
		all = append(all, titledContainer{corev1.Container(c.EphemeralContainerCommon), "ephemeral container " + c.Name, false})
	}
	return all
}

func mountsSecret(volume *corev1.Volume, secret string) bool {
	if volume.Secret != nil {
		return volume.Secret.SecretName == secret
	}
	return volume.Projected != nil && slices.ContainsFunc(volume.Projected.Sources, func(source corev1.VolumeProjection) bool {
		return source.Secret != nil && source.Secret.Name == secret
	})
}
