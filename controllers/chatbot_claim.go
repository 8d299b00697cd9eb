// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
	"dgbot.io/key-operator/internal/lifecycle"
)

// A claim is a ConfigMap in the identity namespace: the lock of a chatbot ID. Its name follows from the ID, so of two
// claimants at the same instant the API server refuses one. It cannot have its chatbot as an owner, which is in another
// namespace, so the operator deletes it when the chatbot is gone, however long ago that was.

// What a claim says.
const (
	lockedID        = "chatbotID"
	holderNamespace = "namespace"
	holderName      = "name"
	holderUID       = "uid"
)

func lockName(id string) types.NamespacedName {
	return types.NamespacedName{Namespace: v1alpha1.IdentityNamespace, Name: identity.ClaimName(id)}
}

// holderLabel finds the claims of a chatbot: its name can be longer than a label.
func holderLabel(chatbot types.NamespacedName) string { return shortHash(chatbot.String()) }

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

func holderOf(lock *corev1.ConfigMap) types.NamespacedName {
	return types.NamespacedName{Namespace: lock.Data[holderNamespace], Name: lock.Data[holderName]}
}

// describeClaim puts what a lock says into the observation; nil stands for none.
func (r *ChatbotReconciler) describeClaim(ctx context.Context, seen *seenChatbot, lock *corev1.ConfigMap) error {
	seen.lock, seen.Claim, seen.Holder = lock, lifecycle.ClaimAbsent, ""
	if lock == nil {
		return r.describeHolder(ctx, seen)
	}
	if types.UID(lock.Data[holderUID]) == seen.Chatbot.UID {
		seen.Claim = lifecycle.ClaimOwn
		return nil
	}
	held, err := r.held(ctx, lock)
	if err != nil {
		return err
	}
	seen.Claim, seen.Holder = lifecycle.ClaimStale, holderOf(lock).String()
	if held {
		seen.Claim = lifecycle.ClaimTaken
	}
	return nil
}

// describeHolder looks for another chatbot that has had the ID, where nobody has a claim: one that somebody deleted must not
// move an ID to whoever comes first. That chatbot claims it anew.
func (r *ChatbotReconciler) describeHolder(ctx context.Context, seen *seenChatbot) error {
	if seen.Chatbot.Status.ChatbotID == seen.ID {
		return nil
	}
	var all v1alpha1.DGbotChatbotList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return reading(err, "the DGbotChatbots, of which another may have ID %s", seen.ID)
	}
	for i := range all.Items {
		other := &all.Items[i]
		if other.Status.ChatbotID == seen.ID && other.UID != seen.Chatbot.UID && chatbotID(other) == seen.ID {
			seen.Claim, seen.Holder = lifecycle.ClaimTaken, client.ObjectKeyFromObject(other).String()
		}
	}
	return nil
}

// held says whether the chatbot that has claimed an ID is there. That it is, the cache may say; that it is not, only the API
// server.
func (r *ChatbotReconciler) held(ctx context.Context, lock *corev1.ConfigMap) (bool, error) {
	return r.isHeld(ctx, holderOf(lock), types.UID(lock.Data[holderUID]))
}

// isHeld says whether a chatbot is there. One in a namespace that this operator does not work in may be another operator's, and
// counts as being there: its claim and its copy are released by whoever works there.
func (r *ChatbotReconciler) isHeld(ctx context.Context, name types.NamespacedName, uid types.UID) (bool, error) {
	if !r.worksIn(name.Namespace) {
		return true, nil
	}
	for i, reader := range []client.Reader{r.Client, r.Live} {
		holder := &v1alpha1.DGbotChatbot{}
		found, err := get(ctx, reader, name, holder)
		if err != nil {
			if i == 0 {
				continue // only the API server may report that the chatbot is gone
			}
			return false, reading(err, "DGbotChatbot %s, which has something in namespace %s", name, v1alpha1.IdentityNamespace)
		}
		if found && holder.UID == uid {
			return true, nil
		}
	}
	return false, nil
}

func (r *ChatbotReconciler) worksIn(namespace string) bool {
	return len(r.Namespaces) == 0 || slices.Contains(r.Namespaces, namespace)
}

// claim creates the lock of the chatbot's ID. A stale one is deleted first, as it was seen and not a newer one.
func (r *ChatbotReconciler) claim(ctx context.Context, seen *seenChatbot) error {
	if seen.Claim == lifecycle.ClaimStale {
		if err := r.release(ctx, seen.lock); err != nil {
			return err
		}
	}
	name, yes := lockName(seen.ID), true
	lock := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name.Namespace, Name: name.Name,
			Labels: map[string]string{
				v1alpha1.ChatbotLabel: string(seen.Chatbot.UID), v1alpha1.ManagedByLabel: v1alpha1.ManagedBy,
				v1alpha1.ClaimHolderLabel: holderLabel(client.ObjectKeyFromObject(seen.Chatbot)),
			},
		},
		Data: map[string]string{
			lockedID: seen.ID, holderNamespace: seen.Chatbot.Namespace, holderName: seen.Chatbot.Name, holderUID: string(seen.Chatbot.UID),
		},
		Immutable: &yes,
	}
	err := r.Client.Create(ctx, lock)
	switch {
	case apierrors.IsAlreadyExists(err):
		lock = &corev1.ConfigMap{}
		found, err := get(ctx, r.Live, name, lock)
		if err != nil {
			return err
		}
		if !found {
			return errOutrun
		}
		return r.describeClaim(ctx, seen, lock)
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// Of the chatbot's own namespace the end of it would be no news. This one comes back.
		return identityNamespaceGone(v1alpha1.ChatbotIDRefusedReason)
	case err != nil:
		return adviseIdentity(judge(err, v1alpha1.ChatbotIDRefusedReason), err)
	}
	return r.describeClaim(ctx, seen, lock)
}

// releaseClaims forgets the claims of a chatbot that is gone, or was replaced by another of its name. The copy of its HMAC secret
// goes first: nobody is to have the ID while what the last one signed still verifies.
func (r *ChatbotReconciler) releaseClaims(ctx context.Context, name types.NamespacedName) error {
	// Replicas that cannot be listed do not keep the replica from going whose name follows from a reservation.
	unreleased := r.releaseCopies(ctx, name)
	var claims corev1.ConfigMapList
	if err := r.Client.List(ctx, &claims, client.InNamespace(v1alpha1.IdentityNamespace), client.MatchingLabels{v1alpha1.ClaimHolderLabel: holderLabel(name)}); err != nil {
		return errors.Join(unreleased, err)
	}
	for i := range claims.Items {
		lock := &claims.Items[i]
		if holderOf(lock) != name {
			continue
		}
		held, err := r.held(ctx, lock)
		if err != nil {
			return errors.Join(unreleased, err)
		}
		if held {
			continue
		}
		if err := r.release(ctx, lock); err != nil {
			return errors.Join(unreleased, err)
		}
	}
	return unreleased
}

// release deletes a lock unless it has changed since, and before it a copy that has lost the label by which it would be found.
func (r *ChatbotReconciler) release(ctx context.Context, lock *corev1.ConfigMap) error {
	copied := metadataOf("Secret")
	found, err := r.getLive(ctx, client.ObjectKeyFromObject(lock), copied)
	if err != nil {
		// The holder of the reservation is gone, so that whatever replica has its name is not to verify.
		copied.SetNamespace(lock.Namespace)
		copied.SetName(lock.Name)
		if err := r.deleteCopy(ctx, copied); err != nil {
			return err
		}
	}
	if uid := copied.Labels[v1alpha1.ChatbotLabel]; found && (uid == "" || uid == lock.Data[holderUID]) {
		if err := r.deleteCopy(ctx, copied); err != nil {
			return err
		}
	}
	err = r.Client.Delete(ctx, lock, client.Preconditions{UID: &lock.UID, ResourceVersion: &lock.ResourceVersion})
	switch {
	case apierrors.IsConflict(err):
		conflicts.Inc()
		return errOutrun
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return judge(err, v1alpha1.ChatbotIDRefusedReason)
	}
	ctrl.LoggerFrom(ctx).Info("Released the ID of a chatbot that is gone", "chatbotID", lock.Data[lockedID], "holder", holderOf(lock).String())
	return nil
}
