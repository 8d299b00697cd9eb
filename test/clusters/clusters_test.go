// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
)

// TestClusters_AKeyFromItsIssueToItsProof: it is issued in the other cluster, verified here, used here, and revoked there. The status there says
// when the verifier here rejects it.
func TestClusters_AKeyFromItsIssueToItsProof(t *testing.T) {
	v := newVerifier(t).start(file(staging))
	here, there := home.NewNamespace(t, "team-"), eu.NewNamespace(t, "team-")
	own, other := issue(here, "own", "production", nil), issue(there, "other", "staging", nil)
	v.becomes("the key of this cluster", own, http.StatusOK)
	v.becomes("the key of the other cluster", other, http.StatusOK)
	for text, want := range map[string]answer{
		own:   {Cluster: "home", Environment: "production", Namespace: here.Name, Name: "own", UID: string(here.Key("own").UID)},
		other: {Cluster: "eu", Environment: "staging", Namespace: there.Name, Name: "other", UID: string(there.Key("other").UID)},
	} {
		_, got := v.ask(text)
		if got.Cluster != want.Cluster || got.Environment != want.Environment || got.Namespace != want.Namespace || got.Name != want.Name || got.UID != want.UID {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	there.Eventually("the use is reported in the record of the other cluster", func() bool {
		records := there.Records("other")
		return len(records) == 1 && records[0].Status.LastUsedAt != nil
	})
	there.EditKey("other", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	there.Eventually("the withdrawal is confirmed", func() bool {
		p := there.Key("other").Status.Propagation
		return p != nil && p.ConfirmedAt != nil
	})
	v.answers("the revoked key", other, http.StatusUnauthorized)
	if p := there.Key("other").Status.Propagation; p.Verifiers < 1 { // an earlier one may not be gone yet
		t.Errorf("it is proven by %d verifiers, want that of this cluster: %+v", p.Verifiers, p)
	}
	v.answers("the key of this cluster", own, http.StatusOK)
}

// TestClusters_ACutConnectionConcernsOneCluster: keys of the other cluster and unknown keys of its environments are answered with 503, all
// others as before.
func TestClusters_ACutConnectionConcernsOneCluster(t *testing.T) {
	v := newVerifier(t).start(file(staging))
	own := issue(home.NewNamespace(t, "cut-"), "own", "staging", nil)
	other := issue(eu.NewNamespace(t, "cut-"), "other", "staging", nil)
	lost, elsewhere := unknown(t, "staging"), unknown(t, "production")
	v.becomes("the key of this cluster", own, http.StatusOK)
	v.becomes("the key of the other cluster", other, http.StatusOK)
	v.becomes("an unknown key", lost, http.StatusUnauthorized)
	v.eu.Cut()
	v.becomes("the key of the other cluster", other, http.StatusServiceUnavailable)
	v.answers("an unknown key of an environment of the other cluster", lost, http.StatusServiceUnavailable)
	v.answers("an unknown key of another environment", elsewhere, http.StatusUnauthorized)
	v.answers("a text that is no key", "junk", http.StatusUnauthorized)
	v.answers("the key of this cluster", own, http.StatusOK)
	if code := v.Get(t.Context(), "/readyz"); code != http.StatusOK {
		t.Errorf("/readyz %d", code)
	}
	v.eu.Open(t)
	v.becomes("the key of the other cluster", other, http.StatusOK)
	v.becomes("an unknown key of an environment of the other cluster", lost, http.StatusUnauthorized)
}

// TestClusters_ARestoredClusterIsFollowed: its etcd is restored from a backup, which lacks a key.
func TestClusters_ARestoredClusterIsFollowed(t *testing.T) {
	v := newVerifier(t).start(file(staging))
	there := eu.NewNamespace(t, "restored-")
	own := issue(home.NewNamespace(t, "restored-"), "own", "staging", nil)
	kept := issue(there, "kept", "staging", nil)
	v.becomes("a key before the backup", kept, http.StatusOK)
	backup, err := eu.BackUpEtcd()
	must(t, err)
	lost := issueOnceBack(there, "lost")
	v.becomes("a key after the backup", lost, http.StatusOK)
	must(t, eu.RestoreEtcd(backup))
	// The manager there ends where the history was replaced, and a Deployment starts it again.
	t.Cleanup(func() {
		<-managers[1].Exited()
		must(t, manage(context.WithoutCancel(t.Context()), eu, 1))
	})
	v.becomes("the key that the backup lacks", lost, http.StatusUnauthorized)
	v.becomes("the key that the backup has", kept, http.StatusOK)
	v.answers("the key of this cluster", own, http.StatusOK)
}

// issueOnceBack is issue for an API server that starts again.
func issueOnceBack(n *testenv.Namespace, name string) string {
	n.T.Helper()
	key := testenv.NewKey(n.Name, name, func(k *v1alpha1.DGbotAPIKey) { k.Spec.Environment = "staging" })
	n.Eventually("the API server takes a key", func() bool { return eu.Admin.Create(n.T.Context(), key.DeepCopy()) == nil })
	n.AwaitReady(name)
	return n.KeyText(name)
}

// TestClusters_ARemovedSourceIsForgottenAtOnce, and its cluster learns of it.
func TestClusters_ARemovedSourceIsForgottenAtOnce(t *testing.T) {
	before := registrations(t)
	v := newVerifier(t).start(file(staging))
	other := issue(eu.NewNamespace(t, "removed-"), "other", "staging", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Scopes = []v1alpha1.Scope{"conversations.read", "contacts.read"}
	})
	v.becomes("the key of the other cluster", other, http.StatusOK)
	v.write("sources.yaml", file(staging+", scopes: ['conversations.*']"))
	home.EventuallySeen(t, "a scope is taken away", func() (bool, string) {
		code, a := v.ask(other)
		return code == http.StatusOK && slices.Equal(a.Scopes, []string{"conversations.read"}), ""
	})
	v.write("sources.yaml", "sources:\n- name: home\n")
	v.becomes("the key of the other cluster", other, http.StatusUnauthorized)
	eu.Eventually(t, "its registrations are marked stopped", func() bool {
		added := 0
		for _, lease := range registrations(t) {
			if slices.ContainsFunc(before, func(earlier coordinationv1.Lease) bool { return earlier.Name == lease.Name }) {
				continue
			}
			if added++; lease.Annotations[v1alpha1.StoppedAnnotation] == "" {
				return false
			}
		}
		return added > 0
	})
	v.write("sources.yaml", "sources: {}\n")
	home.Eventually(t, "the metric tells of a bad file", func() bool { return v.metric("dgbot_verifier_source_config_valid") == "0" })
	v.write("sources.yaml", file(staging))
	v.becomes("the key of the other cluster", other, http.StatusOK)
	home.Eventually(t, "the metric tells of a good file", func() bool { return v.metric("dgbot_verifier_source_config_valid") == "1" })
}

// TestClusters_ADeadClusterDelaysNoStart: its API server is away when the verifier starts.
func TestClusters_ADeadClusterDelaysNoStart(t *testing.T) {
	v := newVerifier(t)
	v.eu.Cut()
	v.start(file(staging))
	own, other := issue(home.NewNamespace(t, "dead-"), "own", "staging", nil), issue(eu.NewNamespace(t, "dead-"), "other", "staging", nil)
	v.becomes("the key of this cluster", own, http.StatusOK)
	v.answers("the key of the other cluster", other, http.StatusServiceUnavailable)
	if !v.isQuick(own) {
		t.Error("the key of this cluster is verified slowly")
	}
	v.eu.Open(t)
	v.becomes("the key of the other cluster", other, http.StatusOK)
}

// isQuick reports whether a key is verified in the time that a connection of this machine takes, rather than in that of another cluster. The best of
// several times counts: the machine may be busy.
func (v *verifier) isQuick(text string) bool {
	best := time.Hour
	for range 5 {
		began := time.Now()
		v.answers("a key", text, http.StatusOK)
		best = min(best, time.Since(began))
	}
	return best < time.Second
}
