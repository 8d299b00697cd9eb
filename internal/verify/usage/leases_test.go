// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"errors"
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// newRenewer returns the renewer of one verifier in a cluster with several.
func newRenewer(cluster *fake.Clientset, clock *verifytest.Clock) *renewer {
	return &renewer{
		leases: cluster.CoordinationV1(), holder: "verifier-1", namespace: "dgbot-system", interval: 30 * time.Second, now: clock.Now,
		complete: map[string]time.Time{},
	}
}

func leaseOf(t *testing.T, cluster *fake.Clientset) *coordinationv1.Lease {
	t.Helper()
	lease, err := cluster.CoordinationV1().Leases("dgbot-system").Get(t.Context(), "dgbot-usage-staging", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func TestRenew_RestartsTrackingIfUsesMayBeMissed(t *testing.T) {
	// Each case begins with a Lease that was renewed now and tracks since an hour ago.
	for name, tc := range map[string]struct {
		before  func(*coordinationv1.Lease)
		after   time.Duration
		others  bool // another verifier renews all the time
		ownGap  time.Duration
		restart bool
	}{
		"renewed in time":                        {after: 30 * time.Second},
		"renewed at the last moment":             {after: 10 * time.Minute},
		"not renewed":                            {after: 10*time.Minute + time.Second, restart: true},
		"others renewed it, this one reported":   {after: time.Hour, others: true, ownGap: time.Minute},
		"others renewed it, this one was silent": {after: time.Hour, others: true, ownGap: time.Hour, restart: true},
		"never renewed":                          {before: func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }, restart: true},
		"no annotation":                          {before: func(l *coordinationv1.Lease) { l.Annotations = nil }, restart: true},
		"an annotation that is no time":          {before: func(l *coordinationv1.Lease) { l.Annotations[v1alpha1.TrackedSinceAnnotation] = "yesterday" }, restart: true},
		"an annotation in the future": {before: func(l *coordinationv1.Lease) {
			l.Annotations[v1alpha1.TrackedSinceAnnotation] = "2099-01-01T00:00:00Z"
		}, restart: true},
	} {
		t.Run(name, func(t *testing.T) {
			clock := verifytest.NewClock()
			since := clock.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
			lease := &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Namespace: "dgbot-system", Name: "dgbot-usage-staging", Annotations: map[string]string{v1alpha1.TrackedSinceAnnotation: since}},
				Spec:       coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: clock.Now()}},
			}
			if tc.before != nil {
				tc.before(lease)
			}
			if tc.others {
				lease.Spec.RenewTime.Time = clock.Now().Add(tc.after)
			}
			cluster := fake.NewClientset(lease)
			v := newRenewer(cluster, clock)
			clock.Pass(tc.after - tc.ownGap)
			v.add([]string{"staging"})
			clock.Pass(tc.ownGap)
			if err := v.renew(t.Context(), "staging"); err != nil {
				t.Fatal(err)
			}
			if tc.restart {
				since = clock.Now().UTC().Format(time.RFC3339)
			}
			got := leaseOf(t, cluster)
			if got.Annotations[v1alpha1.TrackedSinceAnnotation] != since || !got.Spec.RenewTime.Equal(&metav1.MicroTime{Time: clock.Now()}) || *got.Spec.LeaseDurationSeconds != 60 {
				t.Errorf("tracked since %v, want %s; %+v", got.Annotations, since, got.Spec)
			}
		})
	}
}

func TestRenew_CreatesTheLease(t *testing.T) {
	clock, cluster := verifytest.NewClock(), fake.NewClientset()
	v := newRenewer(cluster, clock)
	v.add([]string{"staging"})
	began := clock.Now().UTC().Format(time.RFC3339)
	for range 3 {
		if err := v.renew(t.Context(), "staging"); err != nil {
			t.Fatal(err)
		}
		clock.Pass(30 * time.Second)
	}
	if got := leaseOf(t, cluster); got.Annotations[v1alpha1.TrackedSinceAnnotation] != began || *got.Spec.HolderIdentity != "verifier-1" {
		t.Errorf("%v, held by %s; want since %s", got.Annotations, *got.Spec.HolderIdentity, began)
	}
}

func TestRenew_LetsOneOfTwoVerifiersCreateTheLease(t *testing.T) {
	clock, cluster := verifytest.NewClock(), fake.NewClientset()
	v := newRenewer(cluster, clock)
	v.add([]string{"staging"})
	first := v.complete["staging"]
	cluster.PrependReactor("create", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewAlreadyExists(coordinationv1.Resource("leases"), "dgbot-usage-staging")
	})
	clock.Pass(time.Minute)
	if err := v.renew(t.Context(), "staging"); err != nil || !v.complete["staging"].Equal(first) {
		t.Errorf("%v; complete until %s, want %s", err, v.complete["staging"], first)
	}
}

func TestReporter_RenewsNoLeaseIfAReportFails(t *testing.T) {
	cluster := fake.NewClientset()
	r := reporting(t, 1, func(w http.ResponseWriter, _, _ string) {
		verifytest.Reject(http.StatusForbidden, metav1.StatusReasonForbidden)(w, nil)
	})
	r.renewer = newRenewer(cluster, verifytest.NewClock())
	r.flush(t.Context())
	if got, err := cluster.CoordinationV1().Leases("dgbot-system").List(t.Context(), metav1.ListOptions{}); err != nil || len(got.Items) != 0 {
		t.Errorf("vouched: %v, %v", got.Items, err)
	}
	r.keys.Sweep(0, 2) // the record is gone, and with it what was to be reported
	r.options.Environments = []string{"staging"}
	r.flush(t.Context())
	leaseOf(t, cluster)
}

func TestReporter_RenewsOnlyEnvironmentsWithKeysThatCanBeAccepted(t *testing.T) {
	end := func(change func(*v1alpha1.DGbotAPIKeyRecordSpec)) func(*v1alpha1.DGbotAPIKeyRecord) {
		return func(r *v1alpha1.DGbotAPIKeyRecord) { change(&r.Spec) }
	}
	for name, tc := range map[string]struct {
		change func(*v1alpha1.DGbotAPIKeyRecord)
		served bool
	}{
		"active":   {func(*v1alpha1.DGbotAPIKeyRecord) {}, true},
		"disabled": {end(func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateDisabled }), true},
		"ends later": {end(func(s *v1alpha1.DGbotAPIKeyRecordSpec) {
			s.NotAfter = &metav1.Time{Time: verifytest.Epoch.Add(time.Second)}
		}), true},
		"ended":    {end(func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.NotAfter = &metav1.Time{Time: verifytest.Epoch} }), false},
		"revoked":  {end(func(s *v1alpha1.DGbotAPIKeyRecordSpec) { s.State = v1alpha1.StateRevoked }), false},
		"orphaned": {func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fake.NewClientset()
			r := reporting(t, 0, nil)
			r.renewer = newRenewer(cluster, verifytest.NewClock())
			record := verifytest.Record(verifytest.Mint(t), tc.change)
			record.Spec.Environment = "invented"
			if err := r.keys.Put(record, 0, 1); err != nil {
				t.Fatal(err)
			}
			r.flush(t.Context())
			leases, err := cluster.CoordinationV1().Leases("dgbot-system").List(t.Context(), metav1.ListOptions{})
			if err != nil || (len(leases.Items) > 0) != tc.served {
				t.Errorf("Leases: %v, %v; served: %v", leases.Items, err, tc.served)
			}
			if _, known := r.renewer.complete["invented"]; known != tc.served {
				t.Errorf("the environment is remembered: %v", known)
			}
		})
	}
}

func TestReporter_ReportsUsesOfAnEnvironmentThatItNoLongerServes(t *testing.T) {
	writes := 0
	r := reporting(t, 1, func(w http.ResponseWriter, _, _ string) {
		writes++
		verifytest.Reject(http.StatusNotFound, metav1.StatusReasonNotFound)(w, nil)
	}, func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &metav1.Time{Time: verifytest.Epoch} })
	r.renewer = newRenewer(fake.NewClientset(), verifytest.NewClock())
	r.flush(t.Context())
	if writes != 1 || len(r.renewer.complete) != 0 {
		t.Errorf("%d uses were reported, want 1; environments: %v", writes, r.renewer.complete)
	}
}

func TestRenewAll_RenewsTheOthersWhereOneIsRejected(t *testing.T) {
	environments := []string{"a", "b", "c", "d", "e"}
	for name, tc := range map[string]struct {
		failure error
		asked   int
	}{
		"a quota rejects them":         {apierrors.NewForbidden(coordinationv1.Resource("leases"), "", errors.New("exceeded quota")), 5},
		"the API server is down":       {errors.New("connection refused"), maxUnansweredRenewals},
		"the API server is overloaded": {apierrors.NewTooManyRequestsError("wait"), maxUnansweredRenewals},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, asked := fake.NewClientset(), 0
			cluster.PrependReactor("create", "leases", func(action clienttesting.Action) (bool, runtime.Object, error) {
				asked++
				create, ok := action.(clienttesting.CreateAction)
				if ok && create.GetObject().(*coordinationv1.Lease).Name == "dgbot-usage-e" {
					return false, nil, nil
				}
				return true, nil, tc.failure
			})
			v := newRenewer(cluster, verifytest.NewClock())
			v.add(environments)
			if err := v.renewAll(t.Context(), environments); !errors.Is(err, tc.failure) || asked != tc.asked {
				t.Errorf("%d renewals, want %d: %v", asked, tc.asked, err)
			}
		})
	}
}

// TestRenew_SurvivesThatItsLeaseIsDeleted covers that the next flush creates the Lease again.
func TestRenew_SurvivesThatItsLeaseIsDeleted(t *testing.T) {
	clock, cluster := verifytest.NewClock(), fake.NewClientset(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "dgbot-system", Name: "dgbot-usage-staging"}})
	v := newRenewer(cluster, clock)
	v.add([]string{"staging"})
	cluster.PrependReactor("update", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		if err := cluster.Tracker().Delete(coordinationv1.SchemeGroupVersion.WithResource("leases"), "dgbot-system", "dgbot-usage-staging"); err != nil {
			return true, nil, err
		}
		return false, nil, nil
	})
	for range 2 {
		if err := v.renew(t.Context(), "staging"); err != nil {
			t.Fatal(err)
		}
	}
	if got := leaseOf(t, cluster).Annotations[v1alpha1.TrackedSinceAnnotation]; got != clock.Now().UTC().Format(time.RFC3339) {
		t.Errorf("tracked since %s", got)
	}
}
