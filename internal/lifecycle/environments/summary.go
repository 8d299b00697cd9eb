// SPDX-License-Identifier: Apache-2.0

package environments

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

// StageOf returns the stage of the audit that a key has come to; empty for none.
func StageOf(s *v1alpha1.DGbotAPIKeyStatus) v1alpha1.AuditStage {
	if s.Audit == nil {
		return ""
	}
	return s.Audit.Stage
}

// expiringWithin is how long before its end a key is counted among those that expire.
const expiringWithin = 30 * 24 * time.Hour

// Facet is what the summary of an environment takes from one of its keys. Where that is the same, the summary is.
type Facet struct {
	violates, issued, used, rotated bool
	stage                           v1alpha1.AuditStage
	// nextStageAt and expiresAt are in seconds since 1970; zero for never.
	nextStageAt, expiresAt int64
}

// FacetOf returns what is summed up of a key.
func FacetOf(key *v1alpha1.DGbotAPIKey) Facet {
	f := Facet{violates: ViolatesRules(key), used: key.Status.LastUsedAt != nil, stage: StageOf(&key.Status), expiresAt: unix(key.Spec.ExpiresAt)}
	if current := key.Status.Current; current != nil {
		f.issued, f.rotated = true, current.Revision > 1
	}
	if key.Status.Audit != nil {
		f.nextStageAt = unix(key.Status.Audit.NextStageAt)
	}
	return f
}

func unix(at *metav1.Time) int64 {
	if at == nil {
		return 0
	}
	return at.Unix()
}

// sumUp counts keys by what an audit asks.
func sumUp(rules *v1alpha1.EnvironmentAudit, keys []v1alpha1.DGbotAPIKey, h *instant.Horizon) *v1alpha1.AuditSummary {
	sum := &v1alpha1.AuditSummary{}
	var next int64
	for i := range keys {
		f := FacetOf(&keys[i])
		sum.Unused += count(f.stage != "")
		sum.Disabled += count(f.stage == v1alpha1.AuditDisabled)
		sum.Revoked += count(f.stage == v1alpha1.AuditRevoked)
		sum.NeverUsed += count(f.issued && !f.used)
		sum.NeverRotated += count(f.issued && !f.rotated)
		sum.Exempt += count(effective.ExemptionOf(rules, keys[i].Namespace, keys[i].Name, h) != nil)
		if f.nextStageAt != 0 && (next == 0 || f.nextStageAt < next) {
			next = f.nextStageAt
		}
		if f.expiresAt == 0 {
			continue
		}
		end := time.Unix(f.expiresAt, 0)
		sum.Expiring += count(h.Reached(end.Add(-expiringWithin)) && !h.Reached(end))
	}
	if next != 0 {
		sum.NextStageAt = &metav1.Time{Time: time.Unix(next, 0).UTC()}
	}
	return sum
}

func count(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
