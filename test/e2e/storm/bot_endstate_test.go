// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// unconvergedBots returns which chatbots have not converged yet, and why.
func unconvergedBots(ctx context.Context, namespaces []string, now time.Time) ([]string, error) {
	var all []string
	for _, namespace := range namespaces {
		for _, name := range []string{chatbot, mortal} {
			what, err := unconvergedBot(ctx, types.NamespacedName{Namespace: namespace, Name: name}, now)
			if err != nil {
				return nil, err
			}
			if what != "" {
				all = append(all, fmt.Sprintf("chatbot %s/%s: %s", namespace, name, what))
			}
		}
	}
	return all, nil
}

func unconvergedBot(ctx context.Context, name types.NamespacedName, now time.Time) (string, error) {
	bot := &v1alpha1.DGbotChatbot{}
	err := admin.Get(ctx, name, bot)
	there := err == nil
	if apierrors.IsNotFound(err) {
		bot.Spec.ChatbotID, err = mortalID(name.Namespace), nil
	}
	if err != nil {
		return "", err
	}
	replica, published := &corev1.Secret{}, &corev1.Secret{}
	place := replicaOf(bot)
	foundReplica, err := found(admin.Get(ctx, types.NamespacedName{Namespace: place.Namespace, Name: place.Name}, replica))
	if err != nil {
		return "", err
	}
	if !there {
		reserved, err := found(admin.Get(ctx, types.NamespacedName{Namespace: place.Namespace, Name: place.Name}, &corev1.ConfigMap{}))
		if foundReplica || reserved {
			return "its reservation or its replica still exists", err
		}
		return "", err
	}
	if _, err = found(admin.Get(ctx, types.NamespacedName{Namespace: name.Namespace, Name: name.Name + "-identity"}, published)); err != nil {
		return "", err
	}
	ready := apimeta.FindStatusCondition(bot.Status.Conditions, v1alpha1.ReadyCondition)
	switch iv := bot.Spec.IdentityVerification; {
	case ready == nil || ready.ObservedGeneration != bot.Generation:
		return "its status is old", nil
	case ready.Reason != v1alpha1.PublishedReason:
		return fmt.Sprintf("Ready is %s (%s: %s)", ready.Status, ready.Reason, ready.Message), nil
	case iv == nil && (foundReplica || bot.Status.Current != nil):
		return "it has an HMAC secret and is to have none", nil
	case iv == nil:
		return "", nil
	}
	return unconvergedHMAC(bot, published, replica, now), nil
}

func unconvergedHMAC(bot *v1alpha1.DGbotChatbot, published, replica *corev1.Secret, now time.Time) string {
	s := &bot.Status
	cutOffs := times(nil, bot.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation])
	requests := times(bot.Spec.IdentityVerification.Rotation.RequestedAt, bot.Annotations[v1alpha1.RotateRequestedAtAnnotation])
	switch {
	case s.Current == nil || s.Pending != nil || s.Current.Revoked:
		return "no HMAC secret is current"
	case identity.Hash(published.Data[v1alpha1.IdentitySecretKey]) != s.Current.Hash || string(published.Data[v1alpha1.IdentityKID]) != s.Current.KID:
		return "the Secret is not what the status says"
	case identity.Hash(replica.Data[v1alpha1.IdentitySecretKey]) != s.Current.Hash:
		return "the replica is not what the status says"
	case len(s.Previous) == 0 && (replica.Data["hmac-secret-previous"] != nil || published.Data["hmac-secret-previous"] != nil), replica.Data["hmac-secret-pending"] != nil:
		return "an earlier one is still there"
	case covers(cutOffs, s.Current.IssuedAt.Time, now):
		return "a revocation is not carried out"
	case len(s.Previous) == 0 && covers(requests, s.Current.IssuedAt.Time, now):
		// One that came with an overlap of a day, for want of another, waits for its end.
		return "a request is not served"
	}
	return ""
}

func found(err error) (bool, error) {
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}
