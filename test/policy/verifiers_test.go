// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
)

const (
	// usageNamespace is where verifiers register.
	usageNamespace = "dgbot-system"
	// verifierUser runs the verifiers of these tests, and otherVerifier those of another installation.
	verifierUser, otherVerifier = "system:serviceaccount:dgbot-system:verifiers", "system:serviceaccount:other:verifiers"
	// stopper may mark verifiers as stopped, and editor may only write Leases.
	stopper, editor = "stopper", "editor"

	podName = "authentication.kubernetes.io/pod-name"
)

// grantLeases lets a user write Leases everywhere, and gives it these verbs on records.
func grantLeases(t *testing.T, user string, verbs ...string) {
	t.Helper()
	name := "leases-" + strings.ReplaceAll(user, ":", "-")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{coordinationv1.GroupName}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update", "patch", "delete"}},
	}}
	if len(verbs) > 0 {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"dgbotapikeyrecords"}, Verbs: verbs})
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	for _, object := range []client.Object{role, binding} {
		must(t, admin.Create(t.Context(), object))
		t.Cleanup(func() { must(t, admin.Delete(context.WithoutCancel(t.Context()), object)) })
	}
}

func grantAll(t *testing.T) {
	t.Helper()
	grantLeases(t, verifierUser, "report")
	grantLeases(t, otherVerifier, "report")
	grantLeases(t, stopper, "stop")
	grantLeases(t, editor)
}

// as returns a client of a user. A Pod's name stands for a token that is bound to it.
func as(t *testing.T, user, pod string) client.Client {
	t.Helper()
	config := rest.CopyConfig(cluster.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user}
	if pod != "" {
		config.Impersonate.Extra = map[string][]string{podName: {pod}}
	}
	writer, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	must(t, err)
	return writer
}

type leaseChange = func(*coordinationv1.Lease)

// registered returns the Lease by which a verifier registers.
func registered(name, by string, changes ...leaseChange) *coordinationv1.Lease {
	renewed := metav1.NewMicroTime(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: usageNamespace, Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &name, RenewTime: &renewed},
	}
	r := registration.Registration{MaxStaleness: 2 * time.Minute, RegisteredBy: by}
	r.Annotate(lease, time.Time{})
	for _, change := range changes {
		change(lease)
	}
	return lease
}

func setAnnotation(name, value string) leaseChange {
	return func(l *coordinationv1.Lease) { l.Annotations[name] = value }
}

func withoutLabel(l *coordinationv1.Lease) { delete(l.Labels, v1alpha1.VerifierLabel) }

func renew(l *coordinationv1.Lease) {
	renewed := metav1.NewMicroTime(l.Spec.RenewTime.Add(time.Second))
	l.Spec.RenewTime = &renewed
	l.Annotations[v1alpha1.ObservedVersionsAnnotation] = "*/*=48213"
}

var stop = setAnnotation(v1alpha1.StoppedAnnotation, "2026-11-30T12:00:00Z")

// expectRefusal compares the refusal with a part of its text; empty: the write is accepted. A write that no policy rejects must not fail.
func expectRefusal(t *testing.T, write func() error, want string) {
	t.Helper()
	got, err := during(write)
	must(t, err)
	if (want == "") != (got.refusal == "") || !strings.Contains(got.refusal, want) {
		t.Errorf("refused: %q, want %q", got.refusal, want)
	}
	if want != "" && !strings.Contains(got.refusal, "'dgbot-verifiers'") {
		t.Errorf("another policy refused: %q", got.refusal)
	}
}

func TestVerifiers_RegisterAsThemselves(t *testing.T) {
	grantAll(t)
	long := strings.Repeat("p", 199)
	for name, test := range map[string]struct {
		user, pod string
		lease     *coordinationv1.Lease
		want      string
	}{
		"outside of a Pod":                   {verifierUser, "", registered("dgbot-verifier-host.example-3kd9f0aq", verifierUser), ""},
		"in a Pod":                           {verifierUser, "pod-1", registered("dgbot-verifier-pod-1-3kd9f0aq", verifierUser), ""},
		"in a Pod with a long name":          {verifierUser, long + "pod", registered("dgbot-verifier-"+long+"p-3kd9f0aq", verifierUser), ""},
		"in a Pod with a name cut at a dash": {verifierUser, long + "-pod", registered("dgbot-verifier-"+long+"--3kd9f0aq", verifierUser), ""},
		"in a Pod with a name cut at a dot":  {verifierUser, long + ".pod", registered("dgbot-verifier-"+long+"-3kd9f0aq", verifierUser), ""},
		"without the right": {editor, "", registered("dgbot-verifier-host-3kd9f0aq", editor),
			`needs the verb "report" on dgbotapikeyrecords.keys.dgbot.io in the whole cluster, which editor does not have`},
		"with the right to stop": {stopper, "", registered("dgbot-verifier-host-3kd9f0aq", stopper, stop), `needs the verb "report"`},
		"as another user": {verifierUser, "", registered("dgbot-verifier-host-3kd9f0aq", otherVerifier),
			`is "` + otherVerifier + `", and must be the user that writes the Lease: "` + verifierUser + `"`},
		"as no user": {verifierUser, "", registered("dgbot-verifier-host-3kd9f0aq", ""), `is "", and must be the user`},
		"without annotations": {verifierUser, "", registered("dgbot-verifier-host-3kd9f0aq", "", func(l *coordinationv1.Lease) { l.Annotations = nil }),
			`is "", and must be the user`},
		"under another name":          {verifierUser, "", registered("dgbot-usage-production", verifierUser), `must be "dgbot-verifier-" and further characters`},
		"as another Pod":              {verifierUser, "pod-1", registered("dgbot-verifier-pod-2-3kd9f0aq", verifierUser), `must be "dgbot-verifier-pod-1-" and 8 letters or digits`},
		"as a Pod with a longer name": {verifierUser, "pod", registered("dgbot-verifier-pod-1-3kd9f0aq", verifierUser), `is bound to Pod "pod"`},
		"as a Pod of 8 letters less":  {verifierUser, "a", registered("dgbot-verifier-a-b-3kd9f0", verifierUser), `is bound to Pod "a"`},
		"with another label value": {verifierUser, "", registered("dgbot-verifier-host-3kd9f0aq", verifierUser,
			func(l *coordinationv1.Lease) { l.Labels[v1alpha1.VerifierLabel] = "yes" }), `is set to "true" when the Lease is created`},
		"with 60 KiB of annotations": {verifierUser, "", registered("dgbot-verifier-host-3kd9f0aq", verifierUser, setAnnotation("note", strings.Repeat("x", 60<<10))), ""},
		"with 64 KiB of annotations": {verifierUser, "", registered("dgbot-verifier-host-3kd9f0aq", verifierUser, setAnnotation("note", strings.Repeat("x", 64<<10))), "the limit is 65536"},
		"with 30,000 annotations": {verifierUser, "", registered("dgbot-verifier-host-3kd9f0aq", verifierUser,
			func(l *coordinationv1.Lease) { maps.Copy(l.Annotations, numbered(30_000, "")) }), "the limit is 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			expectRefusal(t, func() error { return as(t, test.user, test.pod).Create(t.Context(), test.lease, client.DryRunAll) }, test.want)
		})
	}
}

// createRegistration stores a Lease as the verifier itself writes it.
func createRegistration(t *testing.T, name, by string, changes ...leaseChange) *coordinationv1.Lease {
	t.Helper()
	lease := registered(name, by, changes...)
	must(t, as(t, by, "").Create(t.Context(), lease))
	t.Cleanup(func() { must(t, admin.Delete(context.WithoutCancel(t.Context()), registered(name, by))) })
	return lease
}

func TestVerifiers_ChangeTheirOwnRegistrationOnly(t *testing.T) {
	grantAll(t)
	stored := createRegistration(t, "dgbot-verifier-pod-1-3kd9f0aq", verifierUser)
	remove := func(name string) leaseChange { return func(l *coordinationv1.Lease) { delete(l.Annotations, name) } }
	for name, test := range map[string]struct {
		user, pod string
		change    leaseChange
		want      string
	}{
		"renews":                   {verifierUser, "pod-1", renew, ""},
		"renews outside of a Pod":  {verifierUser, "", renew, ""},
		"stops itself":             {verifierUser, "pod-1", func(l *coordinationv1.Lease) { renew(l); stop(l) }, ""},
		"removes the label":        {verifierUser, "pod-1", withoutLabel, "neither adds, changes nor removes it"},
		"changes the label":        {verifierUser, "", func(l *coordinationv1.Lease) { l.Labels[v1alpha1.VerifierLabel] = "false" }, "neither adds, changes nor removes it"},
		"gives it to another user": {verifierUser, "", setAnnotation(v1alpha1.RegisteredByAnnotation, otherVerifier), "must be the user that writes the Lease"},
		"removes its name":         {verifierUser, "", remove(v1alpha1.RegisteredByAnnotation), "must be the user that writes the Lease"},
		"outgrows the limit":       {verifierUser, "", setAnnotation("note", strings.Repeat("x", 64<<10)), "the limit is 65536"},
		"of another Pod":           {verifierUser, "pod-2", renew, `must be "dgbot-verifier-pod-2-"`},
		"of another Pod, stopped":  {verifierUser, "pod-2", stop, `must be "dgbot-verifier-pod-2-"`},
		"of another user":          {otherVerifier, "", renew, `is the registration of a verifier that runs as "` + verifierUser + `"`},
		"of another user, stopped": {otherVerifier, "", stop, `which needs the verb "stop"`},
		"of another user, taken":   {otherVerifier, "", setAnnotation(v1alpha1.RegisteredByAnnotation, otherVerifier), `is the registration of a verifier that runs as`},
		"by an editor":             {editor, "", renew, `needs the verb "report"`},
		"by an editor, stopped":    {editor, "", stop, `marking the verifier as stopped needs the verb "stop" on dgbotapikeyrecords.keys.dgbot.io`},
		"by an editor, other text": {editor, "", setAnnotation("note", "x"), `needs the verb "report"`},
		"by an editor, unlabelled": {editor, "", withoutLabel, `needs the verb "report"`},
		"by an editor, to a Secret": {editor, "", func(l *coordinationv1.Lease) {
			l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: "x", UID: "1"}}
		}, `needs the verb "report"`},
		"by an editor, finalized": {editor, "", func(l *coordinationv1.Lease) { l.Finalizers = []string{"example.com/x"} }, `needs the verb "report"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := stored.DeepCopy()
			test.change(changed)
			expectRefusal(t, func() error { return as(t, test.user, test.pod).Update(t.Context(), changed, client.DryRunAll) }, test.want)
		})
	}
	t.Run("an update that changes nothing", func(t *testing.T) {
		expectRefusal(t, func() error { return as(t, editor, "").Update(t.Context(), stored.DeepCopy(), client.DryRunAll) }, `needs the verb "report"`)
		patch := client.RawPatch(types.ApplyPatchType, fmt.Appendf(nil,
			`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":%q,"labels":{%q:"true"}}}`, stored.Name, v1alpha1.VerifierLabel))
		expectRefusal(t, func() error {
			return as(t, editor, "").Patch(t.Context(), stored.DeepCopy(), patch, client.DryRunAll, client.FieldOwner("other"))
		}, `needs the verb "report"`)
	})
}

// TestVerifiers_OneWhoMayStopDoesNothingElse: the annotation is added to the registration of a verifier that no longer runs.
func TestVerifiers_OneWhoMayStopDoesNothingElse(t *testing.T) {
	grantAll(t)
	stored := createRegistration(t, "dgbot-verifier-pod-1-3kd9f0aq", verifierUser)
	writer := as(t, stopper, "")
	for name, test := range map[string]struct {
		change leaseChange
		want   string
	}{
		"only the annotation": {stop, ""},
		"without a time":      {setAnnotation(v1alpha1.StoppedAnnotation, ""), ""},
		"a long text":         {setAnnotation(v1alpha1.StoppedAnnotation, strings.Repeat("x", 65)), `needs the verb "report"`},
		"renewed":             {renew, `needs the verb "report"`},
		"and renewed":         {func(l *coordinationv1.Lease) { renew(l); stop(l) }, `needs the verb "report"`},
		"and observed": {func(l *coordinationv1.Lease) {
			stop(l)
			l.Annotations[v1alpha1.MaxStalenessAnnotation] = "1s"
		}, `needs the verb "report"`},
		"instead of another annotation": {func(l *coordinationv1.Lease) {
			stop(l)
			delete(l.Annotations, v1alpha1.OnStaleAnnotation)
		}, `needs the verb "report"`},
		"and another annotation":  {func(l *coordinationv1.Lease) { stop(l); l.Annotations["note"] = "x" }, `needs the verb "report"`},
		"and without the label":   {func(l *coordinationv1.Lease) { stop(l); withoutLabel(l) }, `needs the verb "report"`},
		"and with another label":  {func(l *coordinationv1.Lease) { stop(l); l.Labels["a"] = "b" }, `needs the verb "report"`},
		"and with a finalizer":    {func(l *coordinationv1.Lease) { stop(l); l.Finalizers = []string{"example.com/x"} }, `needs the verb "report"`},
		"and with another holder": {func(l *coordinationv1.Lease) { stop(l); l.Spec.HolderIdentity = new("x") }, `needs the verb "report"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := stored.DeepCopy()
			test.change(changed)
			expectRefusal(t, func() error { return writer.Update(t.Context(), changed, client.DryRunAll) }, test.want)
		})
	}
	t.Run("as kubectl annotate sends it", func(t *testing.T) {
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"2026-11-30T12:00:00Z"}}}`, v1alpha1.StoppedAnnotation))
		expectRefusal(t, func() error { return writer.Patch(t.Context(), stored.DeepCopy(), patch) }, "")
		lease := &coordinationv1.Lease{}
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(stored), lease))
		if r := registration.Of(lease); !r.Stopped || r.RegisteredBy != verifierUser {
			t.Errorf("the Lease says %+v", r)
		}
	})
	t.Run("not taken back", func(t *testing.T) {
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, v1alpha1.StoppedAnnotation))
		expectRefusal(t, func() error { return writer.Patch(t.Context(), stored.DeepCopy(), patch, client.DryRunAll) }, `needs the verb "report"`)
	})
}

// TestVerifiers_GarbageCollectionDetaches: a deletion in the foreground ends once its finalizer is removed.
func TestVerifiers_GarbageCollectionDetaches(t *testing.T) {
	grantAll(t)
	stored := createRegistration(t, "dgbot-verifier-pod-1-3kd9f0aq", verifierUser, func(l *coordinationv1.Lease) {
		l.Finalizers = []string{"example.com/a", "example.com/b"}
		l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "pod-1", UID: "1"}}
	})
	t.Cleanup(func() {
		must(t, admin.Patch(context.WithoutCancel(t.Context()), registered(stored.Name, verifierUser), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
	})
	for name, test := range map[string]struct {
		change leaseChange
		want   string
	}{
		"one finalizer":  {func(l *coordinationv1.Lease) { l.Finalizers = l.Finalizers[:1] }, ""},
		"all finalizers": {func(l *coordinationv1.Lease) { l.Finalizers = nil }, ""},
		"the owner":      {func(l *coordinationv1.Lease) { l.OwnerReferences = nil }, ""},
		"the owner for another finalizer": {func(l *coordinationv1.Lease) {
			l.OwnerReferences, l.Finalizers = nil, []string{"example.com/c"}
		}, `needs the verb "report"`},
		"a finalizer and the label":      {func(l *coordinationv1.Lease) { l.Finalizers = nil; withoutLabel(l) }, `needs the verb "report"`},
		"a finalizer and an annotation":  {func(l *coordinationv1.Lease) { l.Finalizers = nil; stop(l) }, `needs the verb "report"`},
		"a finalizer and the renew time": {func(l *coordinationv1.Lease) { l.Finalizers = nil; l.Spec.RenewTime = nil }, `needs the verb "report"`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := stored.DeepCopy()
			test.change(changed)
			expectRefusal(t, func() error { return as(t, editor, "").Update(t.Context(), changed, client.DryRunAll) }, test.want)
		})
	}
}

// TestVerifiers_OtherLeasesAreUntouched: no other Lease depends on this policy, and none becomes a registration later.
func TestVerifiers_OtherLeasesAreUntouched(t *testing.T) {
	grantAll(t)
	for _, key := range []client.ObjectKey{
		{Namespace: "kube-node-lease", Name: "node-1"}, {Namespace: usageNamespace, Name: "dgbot-manager.keys.dgbot.io"},
		{Namespace: usageNamespace, Name: "dgbot-usage-production"}, {Namespace: usageNamespace, Name: "dgbot-verifier-pod-1-3kd9f0aq"},
	} {
		t.Run(key.Name, func(t *testing.T) {
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Annotations: map[string]string{"a": strings.Repeat("x", 100<<10)}}}
			writer := as(t, editor, "pod-2")
			expectRefusal(t, func() error { return writer.Create(t.Context(), lease) }, "")
			t.Cleanup(func() { must(t, admin.Delete(context.WithoutCancel(t.Context()), lease)) })
			lease.Spec.HolderIdentity = new("x")
			expectRefusal(t, func() error { return writer.Update(t.Context(), lease.DeepCopy(), client.DryRunAll) }, "")
			register := lease.DeepCopy()
			register.Labels = map[string]string{v1alpha1.VerifierLabel: "true"}
			register.Annotations = map[string]string{v1alpha1.RegisteredByAnnotation: verifierUser}
			for _, user := range []string{editor, stopper} {
				expectRefusal(t, func() error { return as(t, user, "").Update(t.Context(), register.DeepCopy(), client.DryRunAll) }, `needs the verb "report"`)
			}
			expectRefusal(t, func() error {
				return as(t, verifierUser, "").Update(t.Context(), register.DeepCopy(), client.DryRunAll)
			}, "neither adds, changes nor removes it")
		})
	}
}

// TestVerifiers_ReadThePodOfARealToken: the API server writes the name of the Pod that a token is bound to into the user's extra fields.
func TestVerifiers_ReadThePodOfARealToken(t *testing.T) {
	const account = "system:serviceaccount:" + ordinary + ":gateway"
	grantLeases(t, account, "report")
	clients, err := kubernetes.NewForConfig(cluster.Config)
	must(t, err)
	owner := pod(func(spec *corev1.PodSpec) { spec.ServiceAccountName = "gateway" })
	owner.Name, owner.Namespace = "gateway-1", ordinary
	for _, object := range []client.Object{&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "gateway", Namespace: ordinary}}, owner} {
		must(t, admin.Create(t.Context(), object))
		t.Cleanup(func() {
			must(t, admin.Delete(context.WithoutCancel(t.Context()), object, client.GracePeriodSeconds(0)))
		})
	}
	writer := func(bound *authenticationv1.BoundObjectReference) client.Client {
		token, err := clients.CoreV1().ServiceAccounts(ordinary).CreateToken(t.Context(), "gateway", &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound},
		}, metav1.CreateOptions{})
		must(t, err)
		config := rest.AnonymousClientConfig(cluster.Config)
		config.BearerToken = token.Status.Token
		made, err := client.New(config, client.Options{Scheme: scheme.Scheme})
		must(t, err)
		return made
	}
	ofPod := writer(&authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: owner.Name, UID: owner.UID})
	create := func(writer client.Client, name string) func() error {
		return func() error { return writer.Create(t.Context(), registered(name, account), client.DryRunAll) }
	}
	expectRefusal(t, create(ofPod, "dgbot-verifier-gateway-1-3kd9f0aq"), "")
	expectRefusal(t, create(ofPod, "dgbot-verifier-gateway-2-3kd9f0aq"), `is bound to Pod "gateway-1"`)
	expectRefusal(t, create(writer(nil), "dgbot-verifier-gateway-2-3kd9f0aq"), "")
}
