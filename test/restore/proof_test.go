// SPDX-License-Identifier: Apache-2.0

package restore

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
)

// still is for how long a withdrawal is watched that must not be confirmed: longer than a manager that has just started confirms nothing.
const still = 12 * time.Second

// TestRestore_ProvesWithdrawalsWhereVersionsWerePassed: manager and verifier come back to a server that is beyond all versions that they have
// seen. Another verifier comes back later. A key is revoked, and another one deleted and created again.
func TestRestore_ProvesWithdrawalsWhereVersionsWerePassed(t *testing.T) {
	r := furnish(t)
	slow := world.NewProxy(t)
	late := r.startVerifier(slow)
	r.awaitStated(1)
	r.backUp()
	r.verifier = r.startVerifier(r.proxy)
	r.goBeyond()
	r.awaitStated(2)
	slow.Cut()
	r.proxy.Cut()
	r.restore()
	r.pass()
	asked := r.ask(r.verifier, late)
	r.proxy.Open(t)

	r.PatchKey("revoked", `{"spec":{"state":"Revoked"}}`)
	must(t, admin.Delete(t.Context(), &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: r.Name, Name: "deleted"}}))
	deleted := r.keys["deleted"]
	eventually(t, "the key is deleted", func() bool { return r.KeyText("deleted") == "" })
	r.issue("deleted")
	r.staysUnproven(late)
	slow.Open(t)
	proof := r.awaitProof()
	if revision(t, proof.Version) <= r.reached {
		t.Errorf("version %s is not beyond the old history, which goes to %d", proof.Version, r.reached)
	}
	asked.check(proof)
	for _, v := range []*testenv.Verifier{r.verifier, late} {
		r.answers(v, deleted, http.StatusUnauthorized)
		r.answers(v, r.keys["lost"], http.StatusUnauthorized)
		r.answers(v, r.keys["deleted"], http.StatusOK)
		r.answers(v, r.keys["kept"], http.StatusOK)
	}
}

// TestRestore_ProvesNothingByWhatVerifiersStatedBefore: the verifiers have stated versions of the old history that are beyond that of the
// withdrawal. They come back when the restored history has passed these versions.
func TestRestore_ProvesNothingByWhatVerifiersStatedBefore(t *testing.T) {
	r := furnish(t)
	slow := world.NewProxy(t)
	r.verifier = r.startVerifier(slow)
	late := r.startVerifier(slow)
	r.awaitStated(2)
	r.backUp()
	r.goBeyond()
	r.awaitStated(2)
	slow.Cut()
	r.restore()
	asked := r.ask(r.verifier, late)

	r.PatchKey("revoked", `{"spec":{"state":"Revoked"}}`)
	r.staysUnproven(r.verifier, late)
	if version := r.propagation().Version; revision(t, version) >= r.reached {
		t.Errorf("version %s is beyond the old history, which goes to %d", version, r.reached)
	}
	r.pass()
	slow.Open(t)
	asked.check(r.awaitProof())
	for _, v := range []*testenv.Verifier{r.verifier, late} {
		r.answers(v, r.keys["lost"], http.StatusUnauthorized)
		r.answers(v, r.keys["kept"], http.StatusOK)
	}
}

// awaitStated waits until a number of verifiers have stated that they have applied all records.
func (r *restored) awaitStated(verifiers int) {
	r.T.Helper()
	highest := 0
	for _, record := range r.Records("") {
		highest = max(highest, revision(r.T, record.ResourceVersion))
	}
	eventually(r.T, "the verifiers state that they have applied all records", func() bool {
		var leases coordinationv1.LeaseList
		must(r.T, admin.List(r.T.Context(), &leases, client.MatchingLabels{v1alpha1.VerifierLabel: "true"}))
		reached := 0
		for _, lease := range leases.Items {
			_, stopped := lease.Annotations[v1alpha1.StoppedAnnotation]
			stated, ok := strings.CutPrefix(lease.Annotations[v1alpha1.ObservedVersionsAnnotation], "*/*=")
			if ok && !stopped && revision(r.T, stated) >= highest {
				reached++
			}
		}
		return reached == verifiers
	})
}

func (r *restored) propagation() *v1alpha1.Propagation { return r.Key("revoked").Status.Propagation }

// staysUnproven waits until the manager tells of the withdrawal, and fails if it is confirmed while verifiers still accept the key.
func (r *restored) staysUnproven(accepting ...*testenv.Verifier) {
	r.T.Helper()
	eventually(r.T, "the status tells of the withdrawal", func() bool { return r.propagation() != nil })
	for end := time.Now().Add(still); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if now := r.propagation(); now.ConfirmedAt != nil {
			r.T.Fatalf("it is confirmed: %+v", now)
		}
	}
	if now := r.propagation(); len(now.Pending) == 0 {
		r.T.Errorf("no verifier is pending: %+v", now)
	}
	for _, v := range accepting {
		r.answers(v, r.keys["revoked"], http.StatusOK)
	}
}

func (r *restored) awaitProof() *v1alpha1.Propagation {
	r.T.Helper()
	eventually(r.T, "the withdrawal is confirmed", func() bool { return r.propagation().ConfirmedAt != nil })
	time.Sleep(time.Second)
	return r.propagation()
}

func (r *restored) answers(v *testenv.Verifier, text string, code int) {
	r.T.Helper()
	if got, _, err := v.Verify(r.T.Context(), text); got != code {
		r.T.Errorf("a verifier answers %d (%v), want %d", got, err, code)
	}
}

// asked are the times at which requests with the revoked key began that a verifier accepted, by its address.
type asked struct {
	t        *testing.T
	mutex    sync.Mutex
	accepted map[string][]time.Time
}

// ask asks verifiers for the revoked key until the test ends.
func (r *restored) ask(all ...*testenv.Verifier) *asked {
	a, text := &asked{t: r.T, accepted: map[string][]time.Time{}}, r.keys["revoked"]
	for _, v := range all {
		a.accepted[v.Address] = nil
	}
	for _, v := range all {
		go func() {
			for ; r.T.Context().Err() == nil; time.Sleep(2 * time.Millisecond) {
				began := time.Now()
				if code, _, _ := v.Verify(r.T.Context(), text); code == http.StatusOK {
					a.mutex.Lock()
					a.accepted[v.Address] = append(a.accepted[v.Address], began)
					a.mutex.Unlock()
				}
			}
		}()
	}
	return a
}

// check fails if a verifier accepted the key after the proof, or one never did.
func (a *asked) check(proof *v1alpha1.Propagation) {
	a.t.Helper()
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for by, accepted := range a.accepted {
		if len(accepted) == 0 {
			a.t.Errorf("verifier %s never accepted the key: nothing was tested", by)
			continue
		}
		if last := slices.MaxFunc(accepted, time.Time.Compare); last.After(proof.ConfirmedAt.Time) {
			a.t.Errorf("verifier %s accepted the key in a request that began %s after confirmedAt", by, last.Sub(proof.ConfirmedAt.Time))
		}
	}
}
