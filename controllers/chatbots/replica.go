// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/published"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// The replica is a Secret in the identity namespace, named after the reservation of the ID. Verifiers know a chatbot from it. It can have no owner
// there, so the operator deletes it with the reservation.

// readReplica returns the HMAC secrets of a replica, with their metadata. It adds the texts to the known ones.
func readReplica(replica *corev1.Secret, texts map[string][]byte) chatbots.Ledger {
	read := func(suffix string) *v1alpha1.IdentityRevision {
		text, ok := replica.Data[v1alpha1.IdentitySecretKey+suffix]
		if !ok {
			return nil
		}
		entry := func(name string) string { return string(replica.Data[name+suffix]) }
		// An entry that cannot be decoded differs from the expected one; the operator writes it again.
		revision, _ := strconv.ParseInt(entry(v1alpha1.CopyRevision), 10, 64)
		r := &v1alpha1.IdentityRevision{
			Revision: revision, KID: entry(v1alpha1.IdentityKID), Hash: identity.Hash(text), Cause: v1alpha1.Cause(entry(v1alpha1.CopyCause)),
		}
		if at, err := time.Parse(time.RFC3339, entry(v1alpha1.CopyIssuedAt)); err == nil {
			r.IssuedAt = metav1.Time{Time: at}
		}
		if end, ok := replica.Data[v1alpha1.CopyNotAfter+suffix]; ok {
			at, _ := time.Parse(time.RFC3339, string(end))
			r.NotAfter = &metav1.Time{Time: at}
		}
		texts[r.Hash] = text
		return r
	}
	return chatbots.Ledger{Current: read(""), Previous: read(v1alpha1.IdentityPreviousSuffix), Pending: read(v1alpha1.IdentityPendingSuffix)}
}

// dressReplica makes a replica hold the secrets of a ledger, and nothing else.
func dressReplica(replica *corev1.Secret, chatbot *v1alpha1.DGbotChatbot, id string, shows chatbots.Ledger, texts map[string][]byte) {
	replica.Type = corev1.SecretTypeOpaque
	if replica.Labels == nil {
		replica.Labels = map[string]string{}
	}
	replica.Labels[v1alpha1.ChatbotLabel] = string(chatbot.UID)
	replica.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedBy
	replica.Labels[v1alpha1.ClaimHolderLabel] = reservation.HolderLabel(client.ObjectKeyFromObject(chatbot))
	if replica.Annotations == nil {
		replica.Annotations = map[string]string{}
	}
	replica.Annotations[v1alpha1.ChatbotHolderAnnotation] = client.ObjectKeyFromObject(chatbot).String()
	replica.Data = map[string][]byte{
		v1alpha1.IdentityChatbotID: []byte(id),
		v1alpha1.CopyAcceptPlain:   []byte(strconv.FormatBool(chatbot.Spec.IdentityVerification.AcceptPlain)),
		v1alpha1.CopyEnvironment:   []byte(chatbot.Spec.Environment),
		v1alpha1.CopyNamespace:     []byte(chatbot.Namespace),
		v1alpha1.CopyName:          []byte(chatbot.Name),
	}
	show := func(suffix string, r *v1alpha1.IdentityRevision) {
		if r == nil {
			return
		}
		replica.Data[v1alpha1.IdentitySecretKey+suffix] = texts[r.Hash]
		replica.Data[v1alpha1.IdentityKID+suffix] = []byte(r.KID)
		replica.Data[v1alpha1.CopyRevision+suffix] = []byte(strconv.FormatInt(r.Revision, 10))
		replica.Data[v1alpha1.CopyCause+suffix] = []byte(r.Cause)
		replica.Data[v1alpha1.CopyIssuedAt+suffix] = []byte(r.IssuedAt.UTC().Format(time.RFC3339))
		if r.NotAfter != nil {
			replica.Data[v1alpha1.CopyNotAfter+suffix] = []byte(r.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	show("", shows.Current)
	show(v1alpha1.IdentityPreviousSuffix, shows.Previous)
	show(v1alpha1.IdentityPendingSuffix, shows.Pending)
}

// describeReplica adds the replica to the observation; nil if it does not exist. The replica of an earlier holder of the ID counts as
// drifted.
func (seen *observed) describeReplica(replica *corev1.Secret) {
	seen.replica, seen.HMAC.Replica = replica, chatbots.Replica{There: replica != nil}
	if replica == nil {
		return
	}
	c := &seen.HMAC.Replica
	if types.UID(replica.Labels[v1alpha1.ChatbotLabel]) != seen.Chatbot.UID {
		c.Drifted = true
		return
	}
	c.Shows, c.Abandoned = readReplica(replica, seen.texts), replica.Annotations[v1alpha1.AbandonedAnnotation]
	wanted := replica.DeepCopy()
	dressReplica(wanted, seen.Chatbot, seen.ID, c.Shows, seen.texts)
	c.Drifted = !equality.Semantic.DeepEqual(wanted, replica)
}

// writeReplica writes the replica, if it still has the observed resourceVersion.
func (r *Reconciler) writeReplica(ctx context.Context, seen *observed, shows chatbots.Ledger) error {
	return r.changeReplica(ctx, seen, shows, seen.HMAC.Replica.Abandoned)
}

// markReplica marks in the replica that it will never have the announced revision. If another instance announced it and is only slow, its
// write then conflicts. Before that, markReplica yields to that instance for a moment.
func (r *Reconciler) markReplica(ctx context.Context, seen *observed) error {
	pending := seen.Chatbot.Status.Pending
	fresh := r.Clock.Now().Sub(pending.IssuedAt.Time).Abs() < steps.PublishTimeout
	if fresh && r.attempts.MayYield(client.ObjectKeyFromObject(seen.Chatbot), types.UID(pending.Hash)) {
		return write.ErrYield
	}
	return r.changeReplica(ctx, seen, seen.HMAC.Replica.Shows, pending.KID)
}

func (r *Reconciler) changeReplica(ctx context.Context, seen *observed, shows chatbots.Ledger, abandoned string) error {
	name := reservation.NameOf(seen.ID)
	replica := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	if published.IsImmutable(seen.replica) {
		// The operator owns it; no other owner has to release it.
		if err := r.deleteReplica(ctx, seen.replica); err != nil {
			return err
		}
		seen.replica = nil
	}
	create := seen.replica == nil
	if !create {
		replica = seen.replica.DeepCopy()
	}
	dressReplica(replica, seen.Chatbot, seen.ID, shows, seen.texts)
	if abandoned != "" {
		replica.Annotations[v1alpha1.AbandonedAnnotation] = abandoned
	}
	wanted := replica.DeepCopy()
	err := write.Put(ctx, r.Client, replica)
	switch {
	case isIdentityNamespaceGone(err, create):
		return identityNamespaceGone(v1alpha1.CopyWriteRefusedReason)
	case err != nil:
		return adviseIdentity(ofReplica(write.Classify(withoutOwnWords(write.Redact(err, seen.allTexts()...)), v1alpha1.CopyWriteRefusedReason), name, create), err)
	}
	if !equality.Semantic.DeepEqual(replica.Data, wanted.Data) {
		return write.Count(write.Altered(v1alpha1.CopyWriteRefusedReason, fmt.Sprintf("Secret %q in namespace %s", name.Name, name.Namespace), "the entries"))
	}
	ctrl.LoggerFrom(ctx).Info("Wrote the replica of an HMAC secret", "chatbotID", seen.ID, "replica", name.Name, "verifying", len(shows.Revisions()))
	seen.describeReplica(replica)
	return nil
}

// ofReplica adds the namespace of the replica to a rejection: users would look for it in the chatbot's namespace.
func ofReplica(err error, name types.NamespacedName, create bool) error {
	what := "written, and the HMAC secrets in the replica are still valid"
	if create {
		what = "created"
	}
	var rejected *write.RejectedError
	if errors.As(err, &rejected) {
		rejected.Rejection.Message = fmt.Sprintf("The replica of the HMAC secret, Secret %q in namespace %s, cannot be %s: %s",
			name.Name, name.Namespace, what, rejected.Rejection.Message)
	}
	return err
}

// deleteReplica ends verification for a chatbot. It deletes only the observed version of the replica. A replica without a uid was
// unreadable; it deletes any version of that.
func (r *Reconciler) deleteReplica(ctx context.Context, replica client.Object) error {
	var as client.Preconditions
	if uid, version := replica.GetUID(), replica.GetResourceVersion(); uid != "" {
		as = client.Preconditions{UID: &uid, ResourceVersion: &version}
	}
	err := r.Client.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: replica.GetNamespace(), Name: replica.GetName()}}, as)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err := write.Classify(err, v1alpha1.CopyWriteRefusedReason); err != nil {
		return err
	}
	ctrl.LoggerFrom(ctx).Info("Deleted the replica of an HMAC secret", "replica", replica.GetName())
	return nil
}

// replicasOf returns the metadata of the replicas that name a chatbot, from the cache.
func (r *Reconciler) replicasOf(ctx context.Context, name types.NamespacedName) ([]metav1.PartialObjectMetadata, error) {
	replicas := &metav1.PartialObjectMetadataList{}
	replicas.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := r.Client.List(ctx, replicas, client.InNamespace(v1alpha1.IdentityNamespace), client.MatchingLabels{v1alpha1.ClaimHolderLabel: reservation.HolderLabel(name)})
	return replicas.Items, err
}

// releaseReplicas deletes the replicas of deleted chatbots, whenever these were deleted.
func (r *Reconciler) releaseReplicas(ctx context.Context, name types.NamespacedName) error {
	replicas, err := r.replicasOf(ctx, name)
	if err != nil {
		return err
	}
	for i := range replicas {
		held, err := r.isHeld(ctx, name, types.UID(replicas[i].Labels[v1alpha1.ChatbotLabel]))
		if err != nil {
			return err
		}
		if held {
			continue
		}
		if err := r.deleteReplica(ctx, &replicas[i]); err != nil {
			return err
		}
	}
	return nil
}

// isIdentityNamespaceGone reports whether the API server rejected a write because the identity namespace is missing or being deleted. If a
// chatbot's own namespace is, no report is necessary, because the chatbot is deleted with it. The identity namespace can be restored.
func isIdentityNamespaceGone(err error, create bool) bool {
	return create && apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// identityNamespaceGone names the objects of the namespace that only a user can restore. The operator restores reservations and replicas.
func identityNamespaceGone(reason string) error {
	return write.Reject(reason, "Namespace %s, which stores chatbot ID reservations and the replicas of HMAC secrets, is missing or being deleted; %s",
		v1alpha1.IdentityNamespace, applyIdentityAgain)
}

const applyIdentityAgain = "apply the objects of the namespace again: config/identity (the namespace), config/verifier/identity (the rights of the verifiers) and, " +
	"where the manager was installed from one of config/overlays, that overlay (the rights of the manager); with Helm, run helm upgrade with the values " +
	"of the release. The operator then restores the reservations and replicas"

// adviseIdentity adds the remedy if the manager may not write in the identity namespace: its Role there is deleted with the namespace.
func adviseIdentity(err, answer error) error {
	var rejected *write.RejectedError
	if apierrors.IsForbidden(answer) && errors.As(err, &rejected) {
		if _, found := write.SplitAdmissionMessage(answer.Error()); !found {
			rejected.Rejection.Message += "; if namespace " + v1alpha1.IdentityNamespace + " was created again, " + applyIdentityAgain
		}
	}
	return err
}

// withoutOwnWords removes the text of an admission plugin that has seen a current HMAC secret.
func withoutOwnWords(err error) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return err
	}
	before, found := write.SplitAdmissionMessage(status.ErrStatus.Message)
	if !found {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: status.ErrStatus.Status, Code: status.ErrStatus.Code, Reason: status.ErrStatus.Reason,
		Message: before + "(the text is omitted, because the webhook or policy has read an HMAC secret)",
	}}
}

// pruneReplica removes revisions from an unreadable replica. The patch is conditional on the kid, which is public: if an entry holds
// another revision, or none, the API server rejects the patch and nothing changes. The alternative, deleting the replica by its name,
// would make verifiers reject the current revision together with the revoked one.
func (r *Reconciler) pruneReplica(ctx context.Context, seen *observed, kids []string) error {
	if seen.HMAC.Replica.Pruned == nil {
		seen.HMAC.Replica.Pruned = map[string]bool{}
	}
	for _, kid := range kids {
		for _, suffix := range []string{"", v1alpha1.IdentityPreviousSuffix, v1alpha1.IdentityPendingSuffix} {
			if err := r.pruneEntry(ctx, reservation.NameOf(seen.ID), kid, suffix); err != nil {
				return err
			}
		}
		seen.HMAC.Replica.Pruned[kid] = true
	}
	return nil
}

// pruneEntry removes the HMAC secret of one suffix from a replica if its kid is the given one.
func (r *Reconciler) pruneEntry(ctx context.Context, name types.NamespacedName, kid, suffix string) error {
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/data/" + v1alpha1.IdentityKID + suffix, "value": []byte(kid)},
		{"op": "remove", "path": "/data/" + v1alpha1.IdentitySecretKey + suffix},
	})
	if err != nil {
		return err
	}
	replica := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
	err = read.Bounded(ctx, func(ctx context.Context) error {
		return r.Client.Patch(ctx, replica, client.RawPatch(types.JSONPatchType, patch))
	})
	switch {
	case apierrors.IsNotFound(err), doesNotApply(err):
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return ofReplica(write.Reject(v1alpha1.CopyWriteRefusedReason, "the API server did not answer in time"), name, false)
	case err != nil:
		return adviseIdentity(ofReplica(write.Classify(withoutOwnWords(err), v1alpha1.CopyWriteRefusedReason), name, false), err)
	}
	ctrl.LoggerFrom(ctx).Info("Removed a revoked HMAC secret from a replica that cannot be read", "replica", name.Name, "kid", kid)
	return nil
}

// doesNotApply reports whether the API server rejected a JSON patch because a test in it failed, or a path in it does not exist. Its
// answers to an invalid or forbidden object have the same code, and name the object.
func doesNotApply(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == "" && len(details.Causes) == 0
}
