// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// withdraw revokes or disables a revision, and has the status tell of it.
func (c *chronicle) withdraw(revision int64, state v1alpha1.KeyState, written int) {
	noted := at(written).Format(time.RFC3339)
	metav1.SetMetaDataAnnotation(&c.records[revision].ObjectMeta, v1alpha1.WithdrawnAtAnnotation, noted)
	c.amend(revision, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = state })
	version := strconv.Itoa(len(c.changes))
	c.tell(func(p *v1alpha1.Propagation) {
		*p = v1alpha1.Propagation{Generation: 1, Version: version, WrittenAt: metav1.NewMicroTime(at(written).Time), Verifiers: 2}
	})
}

// tell changes what the status says of the withdrawal.
func (c *chronicle) tell(how func(*v1alpha1.Propagation)) {
	c.edit(func(k *v1alpha1.DGbotAPIKey) {
		if k.Status.Propagation == nil {
			k.Status.Propagation = &v1alpha1.Propagation{}
		}
		how(k.Status.Propagation)
	})
}

func (c *chronicle) confirm(seconds int) {
	c.tell(func(p *v1alpha1.Propagation) {
		confirmed := metav1.NewMicroTime(at(seconds).Time)
		p.ConfirmedAt = &confirmed
	})
}

// reactivate makes revision 2, which is disabled, good again, and ends the report.
func (c *chronicle) reactivate() {
	const revision = 2
	delete(c.records[revision].Annotations, v1alpha1.WithdrawnAtAnnotation)
	c.amend(revision, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateActive })
	c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Status.Propagation = nil })
}

// accept is an answer to the key of a revision. The client sees the answer a second after it asked.
func accept(a *answers, revision int64, began int) {
	a.note("verifier", text(revision), http.StatusOK, at(began).Time)
	for hash, all := range a.accepted {
		for i := range all {
			all[i].end = all[i].began.Add(time.Second)
		}
		a.accepted[hash] = all
	}
}

// The first withdrawal has the etcd revision 8. Each later write comes 10 seconds after the previous one, the first at 80 seconds.
var faultyProofs = map[string]struct {
	fault func(*chronicle, *answers)
	// want is a part of each broken proof.
	want   []string
	proven int
}{
	"nothing": {func(c *chronicle, a *answers) {
		accept(a, 2, 74)
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		accept(a, 2, 79)
		c.confirm(80)
		a.note("verifier", text(2), http.StatusUnauthorized, at(81).Time)
	}, nil, 1},
	"a revision that is not withdrawn is accepted": {func(c *chronicle, a *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.confirm(80)
		accept(a, 1, 85)
	}, nil, 1},
	"a withdrawal that is not confirmed": {func(c *chronicle, a *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		accept(a, 2, 500)
	}, nil, 0},
	"a disabled key accepted after it is good again": {func(c *chronicle, a *answers) {
		c.withdraw(2, v1alpha1.StateDisabled, 70)
		c.confirm(80)
		c.reactivate()
		accept(a, 2, 112)
	}, nil, 1},
	"a disabled key accepted before it is good again": {func(c *chronicle, a *answers) {
		c.withdraw(2, v1alpha1.StateDisabled, 70)
		c.confirm(80)
		c.reactivate()
		accept(a, 2, 85)
	}, []string{"revision 2 was accepted by verifier in a request that began 5s after confirmedAt (version 8)"}, 1},
	"a revoked key accepted": {func(c *chronicle, a *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.confirm(80)
		accept(a, 2, 85)
	}, []string{"revision 2 was accepted"}, 1},
	"a revoked key accepted after another one is good again": {func(c *chronicle, a *answers) {
		c.withdraw(1, v1alpha1.StateRevoked, 70)
		c.withdraw(2, v1alpha1.StateDisabled, 90)
		c.confirm(120)
		delete(c.records[1].Annotations, v1alpha1.WithdrawnAtAnnotation)
		c.amend(1, func(*v1alpha1.DGbotAPIKeyRecordSpec) {})
		c.reactivate()
		accept(a, 2, 200)
		accept(a, 1, 200)
	}, []string{"revision 1 was accepted"}, 1},
	"a key accepted whose record was deleted before": {func(c *chronicle, a *answers) {
		c.erase(1)
		c.withdraw(2, v1alpha1.StateRevoked, 80)
		c.confirm(90)
		accept(a, 1, 91)
	}, []string{"revision 1 was accepted"}, 1},
	"a key accepted after its end": {func(c *chronicle, a *answers) {
		c.amend(2, func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.NotAfter = at(79) })
		c.withdraw(2, v1alpha1.StateActive, 70)
		c.confirm(80)
		accept(a, 2, 85)
	}, []string{"revision 2 was accepted"}, 1},
	"confirmedAt changes": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.confirm(80)
		c.confirm(81)
	}, []string{"confirmedAt of version 8 became"}, 1},
	"confirmedAt disappears": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.confirm(80)
		c.tell(func(p *v1alpha1.Propagation) { p.ConfirmedAt = nil })
	}, []string{"confirmedAt of version 8 became"}, 1},
	"the report disappears": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.confirm(80)
		c.edit(func(k *v1alpha1.DGbotAPIKey) { k.Status.Propagation = nil })
	}, []string{"revision 2 is withdrawn since"}, 1},
	"the version falls": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.tell(func(p *v1alpha1.Propagation) { p.Version, p.WrittenAt = "6", metav1.NewMicroTime(at(75).Time) })
	}, []string{`the version is "6" after 8`}, 0},
	"a withdrawal is reported again after the removal": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateDisabled, 70)
		c.reactivate()
		c.tell(func(p *v1alpha1.Propagation) { p.Version, p.WrittenAt = "6", metav1.NewMicroTime(at(75).Time) })
	}, nil, 0},
	"writtenAt changes": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.tell(func(p *v1alpha1.Propagation) { p.WrittenAt = metav1.NewMicroTime(at(75).Time) })
	}, []string{"writtenAt of version 8 became"}, 0},
	"confirmed before it is written": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.confirm(69)
	}, []string{"confirmed by 2 verifiers"}, 1},
	"confirmed while a verifier is pending": {func(c *chronicle, _ *answers) {
		c.withdraw(2, v1alpha1.StateRevoked, 70)
		c.tell(func(p *v1alpha1.Propagation) { p.Pending = []string{"dgbot-verifier-x"} })
		c.confirm(80)
	}, []string{"with 1 pending"}, 1},
}

func TestJudgeProofs_SeesWhatIsBroken(t *testing.T) {
	for name, tc := range faultyProofs {
		t.Run(name, func(t *testing.T) {
			c, a := rotated(), newAnswers()
			c.records[1].Spec.NotAfter = nil
			tc.fault(c, a)
			judged := c.changes.stories()[0].judgeProofs(a, func(string) bool { return false })
			if len(judged.broken) != len(tc.want) || len(judged.all) != tc.proven {
				t.Fatalf("%d proofs, want %d; broken:\n%s", len(judged.all), tc.proven, strings.Join(judged.broken, "\n"))
			}
			for i, want := range tc.want {
				if !strings.Contains(judged.broken[i], want) {
					t.Errorf("got %s, want %s", judged.broken[i], want)
				}
			}
			if wantTested := name == "nothing"; (judged.tested > 0) != wantTested {
				t.Errorf("%d keys count as tested", judged.tested)
			}
		})
	}
}
