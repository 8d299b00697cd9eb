// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/requests"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
)

func ownerOfKey(key *v1alpha1.DGbotAPIKey, h *instant.Horizon) facts.Owner {
	asks := effective.DesiredBy(&key.Spec)
	return facts.Owner{
		Kind: &facts.KeyKind, Namespace: key.Namespace, Name: key.Name, UID: key.UID, Generation: key.Generation, Created: key.CreationTimestamp,
		SecretName: SecretName(key), Asks: asks, Requests: requests.Read(key.Annotations, &asks.Rotation, h), Was: summaryOfKey(&key.Status),
	}
}

func summaryOfKey(s *v1alpha1.DGbotAPIKeyStatus) facts.Summary {
	sum := facts.Summary{
		Conditions: s.Conditions, Current: revisionInStatus(s.Current), IsBound: s.Binding != nil, Handled: s.LastHandledRequest,
		NextRotationAt: s.NextRotationAt, LastUsedAt: s.LastUsedAt, Audit: s.Audit,
	}
	for i := range s.Previous {
		sum.Previous = append(sum.Previous, revisionInStatus(&s.Previous[i]))
	}
	return sum
}

func revisionInStatus(r *v1alpha1.RevisionStatus) *revisions.Revision {
	if r == nil {
		return nil
	}
	return &revisions.Revision{Number: r.Revision, Name: r.RecordName, ID: r.KeyID, IssuedAt: r.IssuedAt, NotAfter: r.NotAfter}
}
