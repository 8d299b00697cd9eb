// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/effective"
	"dgbot.io/key-operator/internal/lifecycle/facts"
	"dgbot.io/key-operator/internal/lifecycle/instant"
	"dgbot.io/key-operator/internal/lifecycle/propagation"
	"dgbot.io/key-operator/internal/lifecycle/report"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/lifecycle/tracking"
)

// facts of a key.
func (o *Observation) facts(now time.Time) facts.Facts {
	f := facts.Facts{
		Horizon: instant.Horizon{Now: now}, Secret: o.Secret, Rejection: o.Rejection, Failed: o.Failed,
		Chatbot: o.Chatbot, Environment: o.Environment, Tracking: o.Tracking, KeepEnded: o.KeepEnded,
	}
	f.Owner = ownerOfKey(o.Key, &f.Horizon)
	for i := range o.Records {
		r := revisions.Of(o.Key, &o.Records[i])
		r.CorrectJump(&f.Horizon, o.IsServerTime, o.IsDisputed)
		f.Taken = max(f.Taken, r.Number, r.SupersededBy, r.NameNumber)
		if standing.Owned(&o.Records[i]) {
			f.Revisions = append(f.Revisions, r)
		}
	}
	return f
}

// Observation is everything the policy looks at.
type Observation struct {
	// Key as it is in the API server.
	Key *v1alpha1.DGbotAPIKey
	// Records whose spec.apiKeyRef.uid is the key's, in any order, orphaned ones included.
	Records []v1alpha1.DGbotAPIKeyRecord
	// Secret of the key's Secret name.
	Secret revisions.Secret
	// Chatbot is the one that spec.chatbotRef names.
	Chatbot effective.Chatbot
	// Environment is the one that spec.environment names.
	Environment effective.Environment
	// Tracking is what the verifiers of the key's environment report about uses; nil where none does.
	Tracking *tracking.Tracking
	// Rejection is what the API server answered to the attempt to carry out a step of the last plan; nil where there was
	// none. With it Plan asks for no step of that kind, and reports it.
	Rejection *report.Rejection
	// Failed are the reads that failed. With any, Plan only takes away: see report.FailedRead.
	Failed report.FailedReads
	// IsServerTime is set if the time that Plan gets is the API server's, which dates records.
	IsServerTime bool
	// IsDisputed is set if API servers disagree about the time: another one than the time is from may have dated records.
	IsDisputed bool
	// KeepEnded: the API server rejected the deletion of a record that expired long ago. It does no harm; the next pass
	// retries.
	KeepEnded bool
	// Verifiers are the registered verifiers that may accept the key's records. They matter only while IsWithdrawalOpen.
	Verifiers propagation.View
	// WithdrawnAt is when this instance got the API server's answer to its last write that withdrew a revision of the key; zero for none.
	WithdrawnAt time.Time
	// ReportedAt is when this instance last wrote the key's status; zero for never.
	ReportedAt time.Time
}

// SecretName returns the effective name of the key's Secret.
func SecretName(key *v1alpha1.DGbotAPIKey) string {
	if key.Spec.Secret != nil && key.Spec.Secret.Name != "" {
		return key.Spec.Secret.Name
	}
	return key.Name
}

// SecretDataKey returns the effective name of the entry that holds the plaintext.
func SecretDataKey(key *v1alpha1.DGbotAPIKey) string {
	if key.Spec.Secret != nil && key.Spec.Secret.Key != "" {
		return key.Spec.Secret.Key
	}
	return v1alpha1.DefaultSecretKey
}
