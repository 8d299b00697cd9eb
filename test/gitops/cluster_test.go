// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// site is a cluster with config/default, the sample environments, and the team's namespaces.
type site struct {
	*testenv.World
	t *testing.T
	// kinds are all that objects in a namespace can have.
	kinds []schema.GroupVersionKind
}

var programs = sync.OnceValue(func() error {
	if err := controlplane.BuildOperator(); err != nil {
		return err
	}
	return controlplane.BuildPlugin()
})

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, World: testenv.StartFor(t, testenv.Options{Build: []func() error{programs}, Within: 90 * time.Second})}
	for _, name := range []string{"support", "support-nonproduction"} {
		s.must(s.Admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	s.kubectl("apply", "-f", controlplane.Repository()+"/config/samples/environments.yaml")
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	testenv.Must(s.t, err)
}

// operate starts a manager.
func (s *site) operate() {
	s.t.Helper()
	s.RunManager(s.t)
}

func (s *site) kubectl(args ...string) {
	s.t.Helper()
	if out, err := s.Kubectl(s.t.Context(), args...).CombinedOutput(); err != nil {
		s.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// dgbot runs kubectl dgbot.
func (s *site) dgbot(args ...string) {
	s.t.Helper()
	if out, err := controlplane.Plugin(s.t.Context(), s.Kubeconfig, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("kubectl dgbot %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (s *site) eventually(what string, condition func() (bool, string)) {
	s.t.Helper()
	s.EventuallySeen(s.t, what, condition)
}

// live returns an object as it is, nil where there is none.
func (s *site) live(like *unstructured.Unstructured) *unstructured.Unstructured {
	s.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(like.GroupVersionKind())
	err := s.Admin.Get(s.t.Context(), client.ObjectKeyFromObject(like), object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	s.must(err)
	return object
}

// kstatus is what Flux would see of an object now.
func (s *site) kstatus(object *unstructured.Unstructured) status.Status {
	s.t.Helper()
	live := s.live(object)
	if live == nil {
		return status.NotFoundStatus
	}
	result, err := status.Compute(live)
	s.must(err)
	return result.Status
}

// crmSecret returns the Secret of the key crm-sync in the namespace support; nil if there is none.
func (s *site) crmSecret() *corev1.Secret {
	s.t.Helper()
	return s.Namespace(s.t, "support").Secret("crm-sync")
}

// key returns the text in the Secret of a DGbotAPIKey; the empty string if there is none.
func (s *site) key(namespace, name string) string {
	s.t.Helper()
	return s.Namespace(s.t, namespace).KeyText(name)
}

func (s *site) records(namespace string) []v1alpha1.DGbotAPIKeyRecord {
	s.t.Helper()
	return s.Namespace(s.t, namespace).Records("")
}

// verifies reports whether a verifier would accept a key now.
func (s *site) verifies(namespace, key string) bool {
	s.t.Helper()
	return s.Namespace(s.t, namespace).Verdict(key) == standing.Admitted
}
