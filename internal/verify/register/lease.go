// SPDX-License-Identifier: Apache-2.0

package register

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
)

// errReplaced means that the Lease is not the one that this process wrote last: another client wrote or deleted it, or the API server returned
// with a restored etcd, and so with another history of the records as well.
var errReplaced = errors.New("the Lease of this verifier was changed or deleted, or etcd was restored")

const fieldManager = "dgbot-verifier"

// maxUnanswered is the number of unanswered writes that are remembered. If an older one was accepted, the process registers anew.
const maxUnanswered = 100

// ownLease is the Lease of this process, as far as it knows.
type ownLease struct {
	name string
	// uid and version are those of the last write that the API server is known to have accepted; empty before the first one.
	uid     types.UID
	version string
	// created is the version of the first write. isComparable is set once an observed version was between it and that of a later write: then
	// Leases and records are in one etcd. A cluster may keep Leases in an etcd of their own, which counts differently.
	created      string
	isComparable bool
	// unanswered are later writes. The API server may have accepted one of them: all have the same version as precondition.
	unanswered []attempt
}

// attempt is a write of the Lease.
type attempt struct {
	lease    *coordinationv1.Lease
	accepted func()
}

// rename begins another Lease.
func (o *ownLease) rename(pod string) { *o = ownLease{name: newName(pod)} }

// accept notes that a write was accepted, and what the API server made of it. In one history, the version of a write is above all versions that
// it states. If it is not, etcd was restored from a backup that already had the write before: then the error is errReplaced.
func (o *ownLease) accept(a attempt, stored *coordinationv1.Lease) error {
	o.uid, o.version, o.unanswered = stored.UID, stored.ResourceVersion, nil
	o.created = cmp.Or(o.created, o.version)
	for watch, version := range registration.Of(a.lease).Observed {
		isAbove := registration.Reaches(version, o.version)
		if isAbove && o.isComparable {
			return fmt.Errorf("%w: version %s of %s was observed before the Lease got version %s", errReplaced, version, watch, o.version)
		}
		o.isComparable = o.isComparable || !isAbove && registration.Reaches(version, o.created)
	}
	a.accepted()
	return nil
}

// find returns the attempt that wrote a Lease: its renewTime and everything else that the attempt says.
func (o *ownLease) find(stored *coordinationv1.Lease) (attempt, bool) {
	for _, a := range o.unanswered {
		if maps.Equal(stored.Annotations, a.lease.Annotations) && maps.Equal(stored.Labels, a.lease.Labels) && equalSpec(&stored.Spec, &a.lease.Spec) {
			return a, true
		}
	}
	return attempt{}, false
}

func equalSpec(a, b *coordinationv1.LeaseSpec) bool {
	return ptr.Equal(a.HolderIdentity, b.HolderIdentity) && ptr.Equal(a.LeaseDurationSeconds, b.LeaseDurationSeconds) &&
		a.RenewTime != nil && b.RenewTime != nil && a.RenewTime.Equal(b.RenewTime)
}

// drop forgets an attempt that the API server rejected.
func (o *ownLease) drop(rejected attempt) {
	o.unanswered = slices.DeleteFunc(o.unanswered, func(a attempt) bool { return a.lease == rejected.lease })
}

// register creates the Lease. A retry after a lost answer finds its own Lease. The requests are not canceled with the context, so that the
// process knows at its end whether it is registered.
func (r *Registrar) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	review, err := r.reviews.Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating a SelfSubjectReview: %w", err)
	}
	r.user = review.Status.UserInfo.Username
	a := r.attempt(false)
	stored, err := r.leases.Create(ctx, a.lease, metav1.CreateOptions{FieldManager: fieldManager})
	switch {
	case err == nil:
		err = r.own.accept(a, stored)
	case apierrors.IsAlreadyExists(err):
		if _, err = r.resolve(ctx); errors.Is(err, errReplaced) {
			r.own.rename(r.options.Pod) // the name of another process
		}
	case isRejection(err):
		r.own.drop(a)
	}
	if err != nil {
		return fmt.Errorf("creating Lease %s/%s: %w", r.options.Namespace, a.lease.Name, err)
	}
	r.log.Info("This verifier is registered", "lease", r.own.name, "registeredBy", r.user)
	return nil
}

// update renews the Lease, or states in it that this process is stopped. errReplaced means that it is no longer the Lease of this process. The
// request is not canceled with the context, so that the next one knows its answer.
func (r *Registrar) update(ctx context.Context, stopped bool) error {
	requesting, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	a := r.attempt(stopped)
	stored, err := r.leases.Update(requesting, a.lease, metav1.UpdateOptions{FieldManager: fieldManager})
	switch {
	case err == nil:
		return r.own.accept(a, stored)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", errReplaced, err)
	case apierrors.IsConflict(err):
		found, err := r.resolve(requesting)
		if err == nil && found.lease != a.lease {
			return r.update(ctx, stopped) // there is no other unanswered write now
		}
		return err
	case isRejection(err):
		r.own.drop(a)
	}
	return err
}

// resolve finds out why a write of the Lease conflicts. If the Lease is as an unanswered write of this process made it, then the API server
// has accepted that write. It may be the very write that conflicts: client-go retries some requests.
func (r *Registrar) resolve(ctx context.Context) (attempt, error) {
	stored, err := r.leases.Get(ctx, r.own.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return attempt{}, fmt.Errorf("%w: %w", errReplaced, err)
	}
	if err != nil {
		return attempt{}, fmt.Errorf("reading the Lease after a conflict: %w", err)
	}
	a, found := r.own.find(stored)
	if !found || r.own.uid != "" && r.own.uid != stored.UID {
		return attempt{}, fmt.Errorf("%w: its resourceVersion is %s instead of %q", errReplaced, stored.ResourceVersion, r.own.version)
	}
	return a, r.own.accept(a, stored)
}

// attempt returns the next write of the Lease. It states the versions that the index has reached at this moment.
func (r *Registrar) attempt(stopped bool) attempt {
	o := &r.own
	now := metav1.NewMicroTime(r.now().Truncate(time.Microsecond))
	lease := &coordinationv1.Lease{
		// With the UID, an update does not create a Lease that was deleted, as the API server does for Leases.
		ObjectMeta: metav1.ObjectMeta{Name: o.name, Namespace: r.options.Namespace, UID: o.uid, ResourceVersion: o.version},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To(o.name), LeaseDurationSeconds: ptr.To(int32(registration.LeaseDuration / time.Second)), RenewTime: &now,
		},
	}
	stated := registration.Registration{
		Observed: r.records.Observed(), MaxStaleness: r.options.MaxStaleness, Serves: r.options.Serve, RegisteredBy: r.user, Stopped: stopped,
	}
	stated.Annotate(lease, now.Time)
	if len(o.unanswered) == maxUnanswered {
		o.unanswered = o.unanswered[1:]
	}
	a := attempt{lease, r.records.Attempt()}
	o.unanswered = append(o.unanswered, a)
	return a
}

// retire writes into an earlier Lease of this process that it is stopped, after the process has registered under another name: under the
// earlier name it answers no longer. Otherwise an operator would wait for it, with --on-stale=serve until a person intervenes.
func (r *Registrar) retire(earlier ownLease) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	stored, err := r.leases.Get(ctx, earlier.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && (stored.UID != earlier.uid || registration.Of(stored).Stopped) {
		return
	}
	if err == nil {
		metav1.SetMetaDataAnnotation(&stored.ObjectMeta, v1alpha1.StoppedAnnotation, r.now().UTC().Format(time.RFC3339))
		_, err = r.leases.Update(ctx, stored, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		r.log.Info("Writing that the earlier registration is stopped failed", "lease", earlier.name, "error", err.Error())
	}
}

// isStored reports whether the API server has stored the Lease although its answer was lost.
func (r *Registrar) isStored() bool {
	if len(r.own.unanswered) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	_, err := r.resolve(ctx)
	return err == nil
}

// stop writes that this process has given its last answer. If the write fails, the operator counts the process as gone after its silence.
func (r *Registrar) stop() {
	if r.own.version == "" && !r.isStored() {
		return
	}
	if err := r.update(context.Background(), true); err != nil {
		r.log.Info("Writing that this verifier is stopped failed", "lease", r.own.name, "error", err.Error())
	}
}
