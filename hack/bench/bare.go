// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// bareClient makes the operator's writes with the operator's account, and nothing else: it reads nothing, plans nothing
// and trusts that no other client writes. A nil one does nothing.
type bareClient struct {
	account client.Client
	mutex   sync.Mutex
	done    map[string]*issued
}

// issued is what a rotation needs of the issue before it.
type issued struct {
	key    *v1alpha1.DGbotAPIKey
	secret *corev1.Secret
	record *v1alpha1.DGbotAPIKeyRecord
}

func (b *bareClient) issue(ctx context.Context, key *v1alpha1.DGbotAPIKey) error {
	if b == nil {
		return nil
	}
	key.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.APIKeyKind))
	i := &issued{key: key, secret: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}}
	text, err := b.mint(ctx, i, 1, v1alpha1.CauseFirstIssue)
	if err != nil {
		return err
	}
	i.fill(text)
	if err := b.account.Create(ctx, i.secret); err != nil {
		return err
	}
	b.mutex.Lock()
	b.done[key.Name] = i
	b.mutex.Unlock()
	return b.report(ctx, i, nil)
}

func (b *bareClient) rotate(ctx context.Context, key *v1alpha1.DGbotAPIKey) error {
	if b == nil {
		return nil
	}
	b.mutex.Lock()
	i := b.done[key.Name]
	b.mutex.Unlock()
	earlier := i.record
	text, err := b.mint(ctx, i, 2, v1alpha1.CauseRequest)
	if err != nil {
		return err
	}
	i.fill(text)
	if err := b.account.Update(ctx, i.secret); err != nil {
		return err
	}
	end := i.record.Spec.IssuedAt.Add(time.Hour).UTC().Format(time.RFC3339)
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"annotations":{%q:"2"}},"spec":{"notAfter":%q}}`, earlier.UID, v1alpha1.SupersededByAnnotation, end)
	if err := b.account.Patch(ctx, earlier, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339, key.Annotations[v1alpha1.RotateRequestedAtAnnotation])
	if err != nil {
		return err
	}
	i.key.Generation = key.Generation
	return b.report(ctx, i, &v1alpha1.HandledRequest{RotateRequestedAt: &metav1.Time{Time: at}})
}

// revoke revokes the revision in use, and issues no other.
func (b *bareClient) revoke(ctx context.Context, key *v1alpha1.DGbotAPIKey) error {
	if b == nil {
		return nil
	}
	b.mutex.Lock()
	i := b.done[key.Name]
	b.mutex.Unlock()
	patch := fmt.Sprintf(`{"metadata":{"uid":%q},"spec":{"state":%q}}`, i.record.UID, v1alpha1.StateRevoked)
	return b.account.Patch(ctx, i.record, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// mint creates the record of a new revision.
func (b *bareClient) mint(ctx context.Context, i *issued, revision int64, cause v1alpha1.Cause) (text []byte, err error) {
	key, err := apikey.Mint(i.key.Spec.Environment)
	if err != nil {
		return nil, err
	}
	record := steps.NewRecord(i.key, steps.IssueRevision{Scopes: i.key.Spec.Scopes,
		Revision: revision, RecordName: revisions.RecordName(i.key.Name, i.key.UID, revision), Cause: cause,
		IssuedAt: metav1.Time{Time: time.Now().UTC().Truncate(time.Second)},
	}, key.ID(), key.Hash())
	i.record = &record
	return []byte(key.Reveal()), b.account.Create(ctx, i.record)
}

// fill makes the Secret as large as the operator's.
func (i *issued) fill(text []byte) {
	i.secret.Type = corev1.SecretTypeOpaque
	i.secret.OwnerReferences = i.record.OwnerReferences
	i.secret.Labels = map[string]string{v1alpha1.APIKeyLabel: string(i.key.UID), v1alpha1.ManagedByLabel: v1alpha1.ManagedBy}
	i.secret.Annotations = map[string]string{v1alpha1.RevisionAnnotation: strconv.FormatInt(i.record.Spec.Revision, 10)}
	i.secret.Data = map[string][]byte{
		v1alpha1.DefaultSecretKey: text, v1alpha1.SecretKeyID: []byte(i.record.Spec.KeyID),
		v1alpha1.SecretEnvironment: []byte(i.key.Spec.Environment),
		v1alpha1.SecretType:        []byte(v1alpha1.SecretTypeValue), v1alpha1.SecretProvider: []byte(v1alpha1.SecretProviderValue),
	}
}

// report writes the event and the status that the operator writes.
func (b *bareClient) report(ctx context.Context, i *issued, handled *v1alpha1.HandledRequest) error {
	now := time.Now().UTC().Truncate(time.Second).Format(time.RFC3339)
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: i.key.Namespace, GenerateName: i.key.Name + "-"},
		EventTime:  metav1.NowMicro(), ReportingController: v1alpha1.ManagedBy, ReportingInstance: "bench",
		Regarding: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind, Namespace: i.key.Namespace, Name: i.key.Name, UID: i.key.UID},
		Reason:    v1alpha1.IssuedReason, Action: "Issue", Type: corev1.EventTypeNormal,
		Note: fmt.Sprintf("Issued revision %d (%s), key ID %s, in Secret %q", i.record.Spec.Revision, i.record.Spec.Cause, i.record.Spec.KeyID, i.secret.Name),
	}
	if err := b.account.Create(ctx, event); err != nil {
		return err
	}
	current := map[string]any{
		"revision": i.record.Spec.Revision, "keyID": i.record.Spec.KeyID, "recordName": i.record.Name,
		"issuedAt": i.record.Spec.IssuedAt.UTC().Format(time.RFC3339),
	}
	status := map[string]any{
		"observedGeneration": i.key.Generation, "current": current, "binding": map[string]any{"name": i.secret.Name},
		"conditions": []any{map[string]any{
			"type": v1alpha1.ReadyCondition, "status": "True", "reason": v1alpha1.IssuedReason, "lastTransitionTime": now,
			"observedGeneration": i.key.Generation, "message": fmt.Sprintf("Revision %d is published in Secret %q and is valid", i.record.Spec.Revision, i.secret.Name),
		}},
	}
	if handled != nil {
		status["lastHandledRequest"] = map[string]any{"rotateRequestedAt": handled.RotateRequestedAt.UTC().Format(time.RFC3339)}
	}
	configuration := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	configuration.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.APIKeyKind))
	configuration.SetNamespace(i.key.Namespace)
	configuration.SetName(i.key.Name)
	return b.account.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(configuration), client.ForceOwnership, client.FieldOwner(v1alpha1.ManagedBy))
}
