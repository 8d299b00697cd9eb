// SPDX-License-Identifier: Apache-2.0

package servertime

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// cluster has API servers whose clocks differ, and a manager that plans by its Clock.
type cluster struct {
	*world
	key *lifecycle.Simulation
	// ahead is how far the clock of the API server is ahead that the manager is connected to.
	ahead time.Duration
	// took is how long each request takes.
	took time.Duration
	// createsAt, if it is set, is how far the clock of the API server is ahead that creates records.
	createsAt *time.Duration
	issued    int
}

func newCluster(t *testing.T, ahead time.Duration) *cluster {
	t.Helper()
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Name: "crm", Namespace: "support", UID: "uid", Generation: 1},
		Spec:       v1alpha1.DGbotAPIKeySpec{Label: "CRM", Environment: "production", State: v1alpha1.StateActive},
	}
	c := &cluster{world: newWorld(t), ahead: ahead, key: &lifecycle.Simulation{
		Observation: lifecycle.Observation{Key: key, Secret: revisions.Secret{State: revisions.SecretAbsent}},
	}}
	c.reconcile()
	return c
}

// request lets the API server answer a request, and returns the time by which it dates objects.
func (c *cluster) request(ahead time.Duration) metav1.Time {
	c.right = c.right.Add(c.took)
	at := c.right.Add(ahead)
	c.clock.observe(dated(at), c.took)
	return metav1.Time{Time: at.Truncate(time.Second)}
}

// reconcile carries out plans until one has no steps, or until it has issued ten revisions.
func (c *cluster) reconcile() {
	c.t.Helper()
	for range 10 {
		c.request(c.ahead)
		c.key.Now, c.key.IsServerTime, c.key.IsDisputed = c.clock.Now(), c.clock.Confirmed(), c.clock.Disputed()
		decision := lifecycle.Plan(c.key.Observation, c.key.Now)
		if len(decision.Steps) == 0 {
			c.key.Key.Status = *decision.Status
			return
		}
		for _, step := range decision.Steps {
			ahead := c.ahead
			_, issues := step.(steps.IssueRevision)
			if issues && c.createsAt != nil {
				ahead = *c.createsAt
			}
			created := c.request(ahead)
			c.key.Apply(step)
			if issues {
				c.key.Records[len(c.key.Records)-1].CreationTimestamp = created
				c.issued++
				break
			}
		}
	}
}

func (c *cluster) ask(annotation string) {
	metav1.SetMetaDataAnnotation(&c.key.Key.ObjectMeta, annotation, c.right.Format(time.RFC3339))
}

const skew = 90 * time.Second

// createsElsewhere asks for a rotation, and connects the manager to another API server between the plan and the creation of the record. It
// returns the record.
func (c *cluster) createsElsewhere(ahead, took time.Duration) *v1alpha1.DGbotAPIKeyRecord {
	c.ask(v1alpha1.RotateRequestedAtAnnotation)
	c.right = c.right.Add(max(0, -c.ahead)) // then the request is due
	c.createsAt, c.took = &ahead, took
	c.reconcile()
	return &c.key.Records[len(c.key.Records)-1]
}

// wait reconciles every few seconds.
func (c *cluster) wait(span, step time.Duration) {
	c.t.Helper()
	for ; span > 0; span -= step {
		c.right = c.right.Add(min(span, step))
		c.reconcile()
	}
}

// differ calls a test with every pair of API servers, and with answers that may set the Clock and slow ones.
func differ(t *testing.T, test func(t *testing.T, plan, create, took time.Duration)) {
	t.Helper()
	for _, plan := range []time.Duration{-skew, 0, skew} {
		for _, create := range []time.Duration{-skew, 0, skew} {
			for _, took := range []time.Duration{0, maxTook + 50*time.Millisecond} {
				t.Run(fmt.Sprintf("planned at %s, created at %s, took %s", plan, create, took), func(t *testing.T) { test(t, plan, create, took) })
			}
		}
	}
}

// TestClock_IssuesWithinBoundsWhereAPIServersDiffer: a request issues one revision, and one more once its time comes at the other API server.
func TestClock_IssuesWithinBoundsWhereAPIServersDiffer(t *testing.T) {
	differ(t, func(t *testing.T, plan, create, took time.Duration) {
		for _, annotation := range []string{v1alpha1.RotateRequestedAtAnnotation, v1alpha1.RevokeIssuedBeforeAnnotation} {
			for _, idle := range []time.Duration{time.Second, 2 * patience} {
				for _, isMoved := range []bool{false, true} {
					c := newCluster(t, plan)
					c.wait(10*time.Minute, 10*time.Second)
					c.right = c.right.Add(idle)
					c.ask(annotation)
					c.createsAt, c.took, c.issued = &create, took, 0
					c.wait(time.Minute, idle)
					if isMoved {
						c.ahead = create
					}
					c.wait(10*time.Minute, 10*time.Second)
					if c.issued < 1 || c.issued > 2 {
						t.Errorf("%s, idle for %s, moved %t: issued %d revisions", annotation, idle, isMoved, c.issued)
					}
				}
			}
		}
	})
}

// TestClock_LetsRevocationsCoverWhatAnotherAPIServerCreated: a revocation is handled only if it revoked each key whose record was created
// before, whichever API server the manager is connected to then, and however late it reads the request.
func TestClock_LetsRevocationsCoverWhatAnotherAPIServerCreated(t *testing.T) {
	differ(t, func(t *testing.T, plan, create, took time.Duration) {
		for _, then := range []time.Duration{-skew, 0, skew} {
			for _, asked := range []time.Duration{time.Second, 35 * time.Second, 89 * time.Second, 130 * time.Second} {
				for _, late := range []time.Duration{0, 100 * time.Second} {
					c := newCluster(t, plan)
					c.wait(10*time.Minute, 10*time.Second)
					leaked := c.createsElsewhere(create, took)
					revision, created := leaked.Spec.Revision, leaked.CreationTimestamp
					c.ahead = then
					c.wait(asked, time.Second)
					c.ask(v1alpha1.RevokeIssuedBeforeAnnotation)
					request := c.right
					c.right = c.right.Add(late)
					c.wait(5*time.Minute, 5*time.Second)
					if created.After(request) {
						continue // the API server that created it was ahead: see Limits in the README
					}
					for _, r := range c.key.Records {
						if r.Spec.Revision == revision && r.Spec.State != v1alpha1.StateRevoked {
							t.Errorf("then at %s, asked after %s, read %s later: issued %s and created %s before the request, and %s; handled %+v",
								then, asked, late, request.Sub(r.Spec.IssuedAt.Time), request.Sub(created.Time), r.Spec.State, c.key.Key.Status.LastHandledRequest)
						}
					}
				}
			}
		}
	})
}
