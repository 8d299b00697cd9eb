// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// within bounds every wait; nothing takes nearly as long on an idle machine.
const within = 90 * time.Second

// site is a cluster with config/default, the sample environments, and the team's namespaces.
type site struct {
	t       *testing.T
	cluster *controlplane.Cluster
	admin   client.Client
	log     process.Log
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
	if err := programs(); err != nil {
		t.Fatal(err)
	}
	cluster, err := controlplane.Start(controlplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := &site{t: t, cluster: cluster}
	s.admin, err = cluster.Furnish(t.Context())
	s.must(err)
	for _, name := range []string{"support", "support-nonproduction"} {
		s.must(s.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	s.kubectl("apply", "-f", controlplane.Repository()+"/config/samples/environments.yaml")
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// operate starts a manager.
func (s *site) operate() {
	s.t.Helper()
	operator, err := s.cluster.StartOperator(s.t.Context(), &s.log)
	s.must(err)
	s.t.Cleanup(func() {
		if err := operator.Stop(); err != nil {
			s.t.Error(err)
		}
	})
}

func (s *site) kubectl(args ...string) {
	s.t.Helper()
	if out, err := s.cluster.Kubectl(s.t.Context(), args...).CombinedOutput(); err != nil {
		s.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// dgbot runs kubectl dgbot.
func (s *site) dgbot(args ...string) {
	s.t.Helper()
	if out, err := controlplane.Plugin(s.t.Context(), s.cluster.Kubeconfig, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("kubectl dgbot %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (s *site) eventually(what string, condition func() (bool, string)) {
	s.t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(s.t.Context(), 100*time.Millisecond, within, true, func(context.Context) (bool, error) {
		done, said := condition()
		last = said
		return done, nil
	})
	if err != nil {
		s.t.Fatalf("not within %s: %s: %s\n%s", within, what, last, s.log.String())
	}
}

// live returns an object as it is, nil where there is none.
func (s *site) live(like *unstructured.Unstructured) *unstructured.Unstructured {
	s.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(like.GroupVersionKind())
	err := s.admin.Get(s.t.Context(), client.ObjectKeyFromObject(like), object)
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

// secret of a key or chatbot; nil where there is none.
func (s *site) secret(namespace, name string) *corev1.Secret {
	s.t.Helper()
	secret := &corev1.Secret{}
	err := s.admin.Get(s.t.Context(), types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	s.must(err)
	return secret
}

// key is the text in the Secret of a DGbotAPIKey; empty where there is none.
func (s *site) key(namespace, name string) string {
	s.t.Helper()
	if secret := s.secret(namespace, name); secret != nil {
		return string(secret.Data[v1alpha1.DefaultSecretKey])
	}
	return ""
}

func (s *site) records(namespace string) []v1alpha1.DGbotAPIKeyRecord {
	s.t.Helper()
	var list v1alpha1.DGbotAPIKeyRecordList
	s.must(s.admin.List(s.t.Context(), &list, client.InNamespace(namespace)))
	return list.Items
}

// verifies says of a key what a verifier would say now.
func (s *site) verifies(namespace, key string) bool {
	s.t.Helper()
	for _, record := range s.records(namespace) {
		if key != "" && record.Spec.Hash == apikey.Hash([]byte(key)) {
			return standing.Admit(&record, time.Now()) == standing.Admitted
		}
	}
	return false
}
