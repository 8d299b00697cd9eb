// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// TestProof_WaitsForTheOperatorsOwnWatch of Leases, and does not take its own silence for that of verifiers.
func TestProof_WaitsForTheOperatorsOwnWatch(t *testing.T) {
	p := newTrial(t)
	leases := newProxy(t, "leases")
	p.manage(place{through: leases})
	p.issue()
	p.verify(place{})
	records := newProxy(t, "dgbotapikeyrecords")
	behind := p.verify(place{through: records})
	records.freeze()
	leases.freeze()
	p.withdraw()
	// Both verifiers are silent for the operator for longer than they may be, and one has not followed.
	p.staysUnproven(gone + 10*time.Second)
	must(t, behind.Stop())
	leases.thaw()
	p.awaitProof(2 * time.Minute)
}

// startWithOneBehind starts a manager, a verifier that follows, and one whose watch of records is frozen while it renews.
func startWithOneBehind(t *testing.T) (p *trial, manager *process.Program, records *proxy) {
	t.Helper()
	p = newTrial(t)
	manager = p.manage(place{})
	p.issue()
	p.verify(place{})
	records = newProxy(t, "dgbotapikeyrecords")
	p.verify(place{through: records})
	records.freeze()
	return p, manager, records
}

// TestProof_IsNotMadeByAPauseOfTheOperator: after the pause, the operator has seen no renewal for longer than verifiers may be
// silent.
func TestProof_IsNotMadeByAPauseOfTheOperator(t *testing.T) {
	p, manager, records := startWithOneBehind(t)
	p.withdraw()
	must(t, manager.Pause())
	t.Cleanup(func() { _ = manager.Resume() })
	p.watch(gone + 10*time.Second)
	must(t, manager.Resume())
	p.staysUnproven(10 * time.Second)
	records.thaw()
	p.awaitProof(soon)
}

// TestProof_IsNotMadeByTheOperatorsClock: it is started again with one that is ten minutes ahead, while a verifier renews that has not followed.
func TestProof_IsNotMadeByTheOperatorsClock(t *testing.T) {
	p, manager, records := startWithOneBehind(t)
	was := p.withdraw()
	must(t, manager.Kill())
	p.manage(place{ahead: 10 * time.Minute})
	p.Eventually("the operator finds its clock wrong", func() bool { return strings.Contains(world.Log.String(), "The clock of this machine is wrong") })
	p.staysUnproven(gone + 10*time.Second)
	records.thaw()
	proof := p.awaitProof(soon)
	if proof.Version != was.Version || !proof.WrittenAt.Equal(&was.WrittenAt) {
		t.Errorf("the withdrawal was %+v and became %+v", was, proof)
	}
	if ahead := time.Until(proof.ConfirmedAt.Time); ahead > time.Second {
		t.Errorf("it is confirmed at %s, %s ahead", proof.ConfirmedAt, ahead)
	}
}

// TestProof_SurvivesOperators: the one that works is killed after each write of a withdrawal. Alone it is started again; of two, the other goes on.
func TestProof_SurvivesOperators(t *testing.T) {
	for name, standby := range map[string]bool{"one": false, "two": true} {
		t.Run(name, func(t *testing.T) {
			p := newTrial(t)
			next := func() *process.Program { return p.manage(place{}, "--leader-elect=true") }
			working := next()
			p.issue()
			p.verify(place{}, "--usage-flush-interval=1s")
			p.Eventually("the use is reported, which is a write", func() bool { return p.Key("leaked").Status.LastUsedAt != nil })
			waiting := next()
			replace := func() {
				must(t, working.Kill())
				if !standby {
					must(t, waiting.Kill())
					waiting = next()
				}
				working, waiting = waiting, next()
			}
			seen := p.follow()
			p.EditKey("leaked", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
			version := "" // later ones may come from reports of uses
			world.EventuallyEvery(t, time.Millisecond, time.Minute, "the record is withdrawn", func() bool {
				record := p.Records("leaked")[0]
				version = record.ResourceVersion
				return record.Annotations[v1alpha1.WithdrawnAtAnnotation] != ""
			})
			replace()
			p.Eventually("the status tells of the withdrawal", func() bool { return p.propagation() != nil })
			replace()
			proof := p.awaitProof(2 * time.Minute)
			replace()
			if !registration.Reaches(proof.Version, version) {
				t.Errorf("the proof is for version %s, and the record had %s", proof.Version, version)
			}
			p.staysAsItIs(time.Minute)
			if now := p.propagation(); !equality.Semantic.DeepEqual(now, proof) || len(seen()) != 1 {
				t.Errorf("the proof was %+v and became %+v; confirmed at %v", proof, now, seen())
			}
		})
	}
}

// follow notes from now on when the withdrawal is confirmed, and returns all times that a status had.
func (p *trial) follow() (confirmed func() []string) {
	p.t.Helper()
	var mutex sync.Mutex
	var times []string
	watch, err := admin.Watch(p.t.Context(), &v1alpha1.DGbotAPIKeyList{}, client.InNamespace(p.Name))
	must(p.t, err)
	context.AfterFunc(p.t.Context(), watch.Stop)
	go func() {
		for event := range watch.ResultChan() {
			key, ok := event.Object.(*v1alpha1.DGbotAPIKey)
			if !ok || key.Status.Propagation == nil || key.Status.Propagation.ConfirmedAt == nil {
				continue
			}
			at := key.Status.Propagation.ConfirmedAt.UTC().Format(time.RFC3339Nano)
			mutex.Lock()
			if len(times) == 0 || times[len(times)-1] != at {
				times = append(times, at)
			}
			mutex.Unlock()
		}
	}()
	return func() []string {
		mutex.Lock()
		defer mutex.Unlock()
		return times
	}
}

// staysAsItIs fails if the operator writes something in the namespace within a time, other than Leases.
func (p *trial) staysAsItIs(span time.Duration) {
	p.t.Helper()
	was := p.Key("leaked").Status
	_, before, err := controlplane.ReadAuditFrom(world.AuditLog, 0)
	must(p.t, err)
	p.watch(span)
	events, _, err := controlplane.ReadAuditFrom(world.AuditLog, before)
	must(p.t, err)
	for _, event := range events {
		if event.ObjectRef.Namespace == p.Name && event.ObjectRef.Resource != "leases" && event.Wrote() {
			p.t.Errorf("the operator wrote: %s\nthe status was\n%+v\nand is\n%+v", event, was, p.Key("leaked").Status)
		}
	}
}
