// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"reflect"
	"slices"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// chatbotParts are the parts of a chatbot's observation that can fail to be read.
var chatbotParts = []report.ReadPart{report.ReadReservation, report.ReadWidget, report.ReadSecret, report.ReadReplica, report.ReadSource}

// withLedger returns the observation of a chatbot with a current and a previous HMAC secret, both in the replica and in the Secret.
func withLedger() Observation {
	chatbot := &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Name: "support-bot", Namespace: "support", UID: "bot", Generation: 2},
		Spec: v1alpha1.DGbotChatbotSpec{
			DisplayName: "Support bot", Environment: "production",
			IdentityVerification: &v1alpha1.IdentityVerification{Rotation: &v1alpha1.IdentityRotation{}},
		},
	}
	current := &v1alpha1.IdentityRevision{Revision: 2, KID: "k2", Hash: "h2", Cause: v1alpha1.CauseRequest, IssuedAt: *at(start)}
	previous := v1alpha1.IdentityRevision{Revision: 1, KID: "k1", Hash: "h1", Cause: v1alpha1.CauseFirstIssue, IssuedAt: *at(start.Add(-time.Hour)), NotAfter: at(start.Add(time.Hour))}
	chatbot.Status = v1alpha1.DGbotChatbotStatus{
		ChatbotID: "cb_1", Current: current, Previous: []v1alpha1.IdentityRevision{previous}, Binding: &v1alpha1.Binding{Name: "support-bot-identity"},
	}
	return Observation{
		Chatbot: chatbot, ID: "cb_1", Reservation: ReservationOwned, Widget: WidgetPublished,
		HMAC: HMACObservation{
			Secret: revisions.Secret{State: revisions.SecretOwned, Hash: "h2"}, PreviousHash: "h1",
			Replica: Replica{There: true, Shows: Ledger{Current: current.DeepCopy(), Previous: previous.DeepCopy()}},
			Known:   map[string]bool{"h1": true, "h2": true},
		},
	}
}

// without returns the observation as it is where a part cannot be read.
func without(o Observation, parts ...report.ReadPart) Observation {
	for _, part := range parts {
		o.Failed = append(o.Failed, report.FailedRead{Of: part, What: "the " + string(part), Message: "KMS is down"})
		switch part {
		case report.ReadReservation:
			o.Reservation = ReservationUnknown
		case report.ReadWidget:
			o.Widget = WidgetUnknown
		case report.ReadSecret:
			o.HMAC.Secret, o.HMAC.PreviousHash = revisions.Secret{State: revisions.SecretUnknown}, ""
		case report.ReadReplica:
			o.HMAC.Replica, o.HMAC.Known = Replica{There: true, Unknown: true}, map[string]bool{}
		}
	}
	return o
}

// settleChatbot carries out the steps of plans in memory, and returns them with the last plan.
func settleChatbot(t *testing.T, o *Observation, now time.Time) ([]Step, Decision) {
	t.Helper()
	var steps []Step
	for range 20 {
		d := Plan(*o, now)
		switch d.Step {
		case "":
			if d.Status != nil {
				o.Chatbot.Status = *d.Status
			}
			return steps, d
		case WriteLedger:
			o.Chatbot = o.Chatbot.DeepCopy()
			d.Ledger.Replace(&o.Chatbot.Status)
		case WriteReplica:
			o.HMAC.Replica.Shows = d.Ledger
		case DeleteReplica:
			o.HMAC.Replica = Replica{}
		case PruneReplica:
			o.HMAC.Replica.Pruned = map[string]bool{}
			for _, kid := range d.Kids {
				o.HMAC.Replica.Pruned[kid] = true
			}
		case WriteSecret:
			o.HMAC.Secret.Hash, o.HMAC.PreviousHash = d.Ledger.Current.Hash, ""
		default:
			t.Fatalf("planned %s", d.Step)
		}
		steps = append(steps, d.Step)
	}
	t.Fatal("a plan with failed reads does not converge")
	return nil, Decision{}
}

func TestPlan_FailedReadsRevoke(t *testing.T) {
	now := start.Add(time.Minute)
	for part, steps := range map[report.ReadPart][]Step{
		report.ReadReservation: {WriteLedger, WriteReplica}, report.ReadSecret: {WriteLedger, WriteReplica}, report.ReadSource: {WriteLedger, WriteReplica},
		report.ReadReplica: {PruneReplica, WriteLedger},
	} {
		t.Run(string(part), func(t *testing.T) {
			o := without(withLedger(), part)
			o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(start)
			got, d := settleChatbot(t, &o, now)
			if !reflect.DeepEqual(got, steps) {
				t.Errorf("the steps are %v, want %v", got, steps)
			}
			if !o.HMAC.Replica.Shows.Empty() {
				t.Errorf("the replica still shows %+v", o.HMAC.Replica.Shows)
			}
			if c := d.Status.Current; c == nil || !c.Revoked || len(d.Status.Previous) > 0 {
				t.Errorf("the ledger is %+v, %+v", d.Status.Current, d.Status.Previous)
			}
			if h := d.Status.LastHandledRequest; h == nil || h.RevokeIssuedBefore == nil {
				t.Errorf("the revocation is not reported: %+v", h)
			}
			if stalled := apimeta.FindStatusCondition(d.Status.Conditions, v1alpha1.StalledCondition); stalled == nil || stalled.Reason != v1alpha1.ObservationFailedReason {
				t.Errorf("Stalled is %+v", stalled)
			}
		})
	}
}

// TestPlan_FailedReadsRevokeTheEarlierOne: the replica loses what was revoked and keeps the rest.
func TestPlan_FailedReadsRevokeTheEarlierOne(t *testing.T) {
	now := start.Add(time.Minute)
	for _, part := range []report.ReadPart{report.ReadSecret, report.ReadReplica} {
		o := without(withLedger(), part)
		o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(start.Add(-time.Hour))
		_, d := settleChatbot(t, &o, now)
		if c := d.Status.Current; c == nil || c.Revoked || len(d.Status.Previous) > 0 {
			t.Errorf("without %s the ledger is %+v, %+v", part, d.Status.Current, d.Status.Previous)
		}
		if shows := o.HMAC.Replica.Shows; part == report.ReadSecret && (shows.Current == nil || shows.Previous != nil) {
			t.Errorf("the replica shows %+v", shows)
		}
		if pruned := o.HMAC.Replica.Pruned; part == report.ReadReplica && (len(pruned) != 1 || !pruned["k1"]) {
			t.Errorf("pruned %v", pruned)
		}
		if d.Status.LastHandledRequest == nil {
			t.Errorf("without %s the revocation is not reported as handled", part)
		}
	}
}

// TestPlan_UnseenReplica: a revision leaves the ledger only once the replica has lost it.
func TestPlan_UnseenReplica(t *testing.T) {
	for name, test := range map[string]struct {
		happen func(*Observation)
		now    time.Time
		pruned []string
	}{
		"all revoked": {
			happen: func(o *Observation) {
				o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(start)
			},
			now: start.Add(time.Minute), pruned: []string{"k1", "k2"},
		},
		"an announced one revoked": {
			happen: func(o *Observation) {
				o.Chatbot.Status.Pending = &v1alpha1.IdentityRevision{Revision: 3, KID: "k3", Hash: "h3", Cause: v1alpha1.CauseSchedule, IssuedAt: *at(start.Add(time.Second))}
				o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(start.Add(time.Second))
			},
			now: start.Add(time.Minute), pruned: []string{"k1", "k2", "k3"},
		},
		"the overlap ended": {happen: func(*Observation) {}, now: start.Add(2 * time.Hour), pruned: []string{"k1"}},
		"identityVerification removed": {
			happen: func(o *Observation) { o.Chatbot.Spec.IdentityVerification = nil }, now: start, pruned: []string{"k1", "k2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := without(withLedger(), report.ReadReplica)
			o.HMAC.Replica.There = false
			test.happen(&o)
			d := Plan(o, test.now)
			slices.Sort(d.Kids)
			if d.Step != PruneReplica || !slices.Equal(d.Kids, test.pruned) {
				t.Fatalf("planned %q of %v", d.Step, d.Kids)
			}
			refused := o
			refused.HMAC.Rejection = &report.Rejection{Reason: v1alpha1.CopyWriteRefusedReason, Message: "KMS is down"}
			_, d = settleChatbot(t, &refused, test.now)
			if reason := apimeta.FindStatusCondition(d.Status.Conditions, v1alpha1.ReadyCondition).Reason; reason != v1alpha1.CopyWriteRefusedReason {
				t.Errorf("while the replica cannot be written, Ready is %s", reason)
			}
			var kept []string
			for _, revision := range LedgerOf(d.Status).Revisions() {
				kept = append(kept, revision.KID)
			}
			for _, kid := range test.pruned {
				if !slices.Contains(kept, kid) || d.Status.LastHandledRequest != nil {
					t.Errorf("the replica may have %s, and the status has %v, handled %v", kid, kept, d.Status.LastHandledRequest)
				}
			}
			_, d = settleChatbot(t, &o, test.now)
			if len(d.Status.Previous) > 0 {
				t.Errorf("the ledger keeps %+v", d.Status.Previous)
			}
			status := d.Status.DeepCopy()
			o.HMAC.Replica.Pruned = nil // another pass
			if steps, d := settleChatbot(t, &o, test.now.Add(time.Minute)); len(steps) > 0 || !reflect.DeepEqual(status, d.Status) {
				t.Errorf("a retry plans %v: %+v", steps, d.Status)
			}
		})
	}
}

func TestPlan_FailedReadsWithdraw(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.DGbotChatbot){
		"identityVerification removed": func(c *v1alpha1.DGbotChatbot) { c.Spec.IdentityVerification = nil },
		"deleted":                      func(c *v1alpha1.DGbotChatbot) { c.DeletionTimestamp = at(start) },
	} {
		for _, part := range []report.ReadPart{report.ReadReservation, report.ReadWidget, report.ReadReplica} {
			o := without(withLedger(), part)
			change(o.Chatbot)
			if _, _ = settleChatbot(t, &o, start); o.HMAC.Replica.There {
				t.Errorf("%s, without %s: the replica is still there", name, part)
			}
		}
		o := without(withLedger(), report.ReadReplica)
		o.HMAC.Replica.There = false
		change(o.Chatbot)
		if steps, _ := settleChatbot(t, &o, start); !o.HMAC.Replica.Pruned["k1"] || !o.HMAC.Replica.Pruned["k2"] {
			t.Errorf("%s, without the replica and its metadata: planned %v", name, steps)
		}
	}
}

// TestHMACWithdrawalOf: the ledger and the request alone decide.
func TestHMACWithdrawalOf(t *testing.T) {
	for name, test := range map[string]struct {
		happen func(*v1alpha1.DGbotChatbot)
		want   steps.Withdrawal
	}{
		"nothing": {func(*v1alpha1.DGbotChatbot) {}, steps.WithdrawNothing},
		"a rotation is due": {func(c *v1alpha1.DGbotChatbot) {
			c.Spec.IdentityVerification.Rotation.RequestedAt = at(start)
		}, steps.WithdrawNothing},
		"a revocation": {
			func(c *v1alpha1.DGbotChatbot) {
				c.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(start)
			}, steps.WithdrawAfterAttempt,
		},
		"a revocation that was handled": {func(c *v1alpha1.DGbotChatbot) {
			c.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(start)
			c.Status.Current.Revoked, c.Status.Previous = true, nil
			c.Status.LastHandledRequest = &v1alpha1.HandledRequest{RevokeIssuedBefore: at(start)}
		}, steps.WithdrawNothing},
		"identityVerification removed": {func(c *v1alpha1.DGbotChatbot) { c.Spec.IdentityVerification = nil }, steps.WithdrawNow},
		"removed and withdrawn": {func(c *v1alpha1.DGbotChatbot) {
			c.Spec.IdentityVerification, c.Status.Current, c.Status.Previous = nil, nil, nil
		}, steps.WithdrawNothing},
		"deleted": {func(c *v1alpha1.DGbotChatbot) { c.DeletionTimestamp = at(start) }, steps.WithdrawNow},
	} {
		o := withLedger()
		test.happen(o.Chatbot)
		if got := WithdrawalOf(o.Chatbot, start.Add(time.Minute)); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestPlan_FailedReadsGrantNothing: nothing is announced, restored or claimed, and retries write nothing.
func TestPlan_FailedReadsGrantNothing(t *testing.T) {
	for name, happen := range map[string]func(*Observation){
		"nothing": func(*Observation) {},
		"a rotation is due": func(o *Observation) {
			o.Chatbot.Spec.IdentityVerification.Rotation.RequestedAt = at(start)
		},
		"the replica drifted": func(o *Observation) { o.HMAC.Replica.Drifted = true },
		"the replica is gone": func(o *Observation) { o.HMAC.Replica = Replica{}; o.HMAC.Known = map[string]bool{} },
		"the Secret is gone": func(o *Observation) {
			o.HMAC.Secret, o.HMAC.PreviousHash, o.HMAC.Known = revisions.Secret{State: revisions.SecretAbsent}, "", map[string]bool{}
		},
	} {
		for _, part := range chatbotParts {
			if part == report.ReadWidget {
				continue // the HMAC secret does not depend on it
			}
			t.Run(name+", "+string(part), func(t *testing.T) {
				o := withLedger()
				happen(&o)
				o = without(o, part)
				ledger := LedgerOf(&o.Chatbot.Status)
				now := start.Add(time.Minute)
				if steps, d := settleChatbot(t, &o, now); len(steps) > 0 || !LedgerOf(d.Status).Equal(ledger) || d.Status.Binding == nil || d.Status.ChatbotID != "cb_1" {
					t.Errorf("planned %v: %+v", steps, d.Status)
				}
				status := o.Chatbot.Status.DeepCopy()
				if _, d := settleChatbot(t, &o, now.Add(time.Hour/2)); !reflect.DeepEqual(status, d.Status) {
					t.Errorf("a retry writes\n%+v\nafter\n%+v", d.Status, status)
				}
			})
		}
	}
}

// TestPlan_UnknownWidgetDelaysNoRotation: the HMAC secret does not depend on the ConfigMap.
func TestPlan_UnknownWidgetDelaysNoRotation(t *testing.T) {
	o := withLedger()
	o.Chatbot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(start)
	o.Chatbot.Status.Previous, o.HMAC.Replica.Shows.Previous, o.HMAC.PreviousHash = nil, nil, ""
	now := start.Add(time.Minute)
	if with, without := Plan(o, now), Plan(without(o, report.ReadWidget), now); with.Step != AnnounceRevision || without.Step != with.Step {
		t.Errorf("planned %q, with the ConfigMap %q", without.Step, with.Step)
	}
}

// TestPlan_AWithdrawnHMACSecretDoesNotComeBack from a replica that could not be deleted: its return is another one.
func TestPlan_AWithdrawnHMACSecretDoesNotComeBack(t *testing.T) {
	w := newHMACWorld(t, nil)
	w.rest()
	before := w.o.Chatbot.Status.Current
	wanted := w.o.Chatbot.Spec.IdentityVerification
	w.o.Chatbot.Spec.IdentityVerification = nil
	w.o.HMAC.Rejection = &report.Rejection{Reason: v1alpha1.CopyWriteRefusedReason, Message: "no such right"}
	ledger := Ledger{}
	ledger.Replace(&w.o.Chatbot.Status) // the ledger is written before the replica is deleted
	w.rest()
	if !w.o.HMAC.Replica.There || before == nil {
		t.Fatal("the replica was deleted, or there was no HMAC secret")
	}
	w.o.Chatbot.Spec.IdentityVerification, w.o.HMAC.Rejection = wanted, nil
	w.everPublished = nil // what was published before is withdrawn, although the Secret still has it
	w.rest()
	current := w.o.Chatbot.Status.Current
	if current == nil || current.Hash == before.Hash {
		t.Fatalf("the HMAC secret is %+v, and was %+v", current, before)
	}
	for _, shown := range w.o.HMAC.Replica.Shows.Revisions() {
		if shown.Hash == before.Hash {
			t.Errorf("the replica still shows %+v", shown)
		}
	}
}
