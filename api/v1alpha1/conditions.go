// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types of a DGbotAPIKey, a DGbotChatbot and a DGbotEnvironment.
const (
	// ReadyCondition is always present. True, for a DGbotAPIKey: the Secret holds a valid key. False: the reason and the
	// message tell why.
	ReadyCondition = "Ready"
	// ReconcilingCondition is present only while True: the operator works, or waits for something that happens without a user.
	// Tools that follow kstatus show the object as in progress.
	ReconcilingCondition = "Reconciling"
	// StalledCondition is present only while True: the operator cannot continue until a user changes something. Tools that
	// follow kstatus show the object as failed.
	StalledCondition = "Stalled"
	// RequestInvalidCondition is present only while True: a request annotation is unreadable, and the operator ignores it.
	// Ready is not affected.
	RequestInvalidCondition = "RequestInvalid"
	// RequestPendingCondition is present only while True: a request to rotate, to revoke or to keep the key, in spec or in an
	// annotation, is in the future. It does nothing until then. The message names its time, its source and the revisions that
	// are still valid. Ready is not affected.
	RequestPendingCondition = "RequestPending"
	// PreviousRevisionInUseCondition is present only while True, with spec.rotation.retire: WhenUnused. A previous revision
	// stays valid beyond its overlap, because it is in use or because no verifier reports uses. The message names the revision
	// and its last use. Ready is not affected.
	PreviousRevisionInUseCondition = "PreviousRevisionInUse"
	// PolicyViolationCondition is present only while True: an issued key breaks a rule of its DGbotEnvironment. The operator
	// holds it to the nearest permitted value. The message names the limit and the value. Ready is not affected.
	PolicyViolationCondition = "PolicyViolation"
	// EnvironmentMissingCondition is present only while True: the manager requires environments, and the DGbotEnvironment of
	// an issued key does not exist. The key stays valid and its own spec applies, without rules. Ready is not affected.
	EnvironmentMissingCondition = "EnvironmentMissing"
	// UnusedCondition is present only while True: the key is unused for longer than the audit of its DGbotEnvironment allows.
	// The message names the time since when, the next stage, and how to keep the key.
	UnusedCondition = "Unused"
	// PropagationPendingCondition is present only while True: the operator has withdrawn a revision, and it is not proven that
	// every registered verifier rejects it. The message names the verifiers. Ready is not affected.
	PropagationPendingCondition = "PropagationPending"
	// SelectsNothingCondition of a DGbotEnvironment is present only while True: its namespaceSelector selects no existing
	// namespace. Ready is not affected.
	SelectsNothingCondition = "SelectsNothing"
	// ImportIgnoredCondition is present only while True: spec.identityVerification.importFrom names other bytes than those of
	// the chatbot's first HMAC secret. The operator ignores them. Ready is not affected.
	ImportIgnoredCondition = "ImportIgnored"
	// ImportPaddedCondition is present only while True: the current HMAC secret was imported and begins or ends with white
	// space, which is probably a mistake. Ready is not affected.
	ImportPaddedCondition = "ImportPadded"
)

// AbnormalConditions are the condition types of DGbotAPIKeys and DGbotChatbots that are present only while True.
var AbnormalConditions = [...]string{
	// ReconcilingCondition is present only while True: the operator works, or waits for something that happens without a user.
	// Tools that follow kstatus show the object as in progress.
	ReconcilingCondition, StalledCondition, RequestInvalidCondition, RequestPendingCondition, PreviousRevisionInUseCondition,
	// ImportIgnoredCondition is present only while True: spec.identityVerification.importFrom names other bytes than those of
	// the chatbot's first HMAC secret. The operator ignores them. Ready is not affected.
	ImportIgnoredCondition, ImportPaddedCondition, PolicyViolationCondition, EnvironmentMissingCondition, UnusedCondition,
	PropagationPendingCondition,
}

// Reasons. Conditions, events and logs use the same words.
const (
	// IssuedReason: Ready is True; the message names the revision and the Secret. As an event: the operator issued a revision;
	// the note names its cause.
	IssuedReason = "Issued"
	// DisabledReason: spec.state is Disabled, or the audit disabled the key. Verifiers reject all revisions until the key is
	// Active again.
	DisabledReason = "Disabled"
	// RevokedReason: spec.state is Revoked, or the audit revoked the key. Verifiers reject all revisions for good. As an event
	// also: the operator carried out revokeIssuedBefore.
	RevokedReason = "Revoked"
	// ExpiredReason: spec.expiresAt has passed. Verifiers reject all revisions; the operator issues none until expiresAt is
	// later or removed.
	ExpiredReason = "Expired"
	// ObservationFailedReason: the operator could not read an object that it needs, such as the Secret, the DGbotEnvironment
	// or the DGbotChatbot. The message names it and has the API server's answer. The operator still applies revocation,
	// disabling, expiry and deletion. It issues, publishes and repairs nothing until the read succeeds.
	ObservationFailedReason = "ObservationFailed"
	// SecretConflictReason: a foreign Secret has the name of this key's Secret. The operator never touches it and issues
	// nothing.
	SecretConflictReason = "SecretConflict"
	// SecretWriteRefusedReason: the API server rejects the write of the Secret (immutable, another type, quota, webhook,
	// missing right). The message is that of the API server. The operator issues nothing and retries with back-off.
	SecretWriteRefusedReason = "SecretWriteRefused"
	// RecordConflictReason: a record of another key has the name of the next record. The operator issues nothing.
	RecordConflictReason = "RecordConflict"
	// RecordWriteRefusedReason: the API server rejects the write of a record (quota, webhook, missing right). The message is
	// that of the API server. The operator publishes nothing and retries with back-off. A revocation may not have taken
	// effect.
	RecordWriteRefusedReason = "RecordWriteRefused"
	// SecretLossDampedReason: the Secret was lost or tampered with so often within an hour that the operator delays the
	// replacement. The message has the time of the next one.
	SecretLossDampedReason = "SecretLossDamped"
	// WaitingForGarbageCollectionReason: the Secret of a deleted key has the name of this key's Secret. The operator waits
	// until garbage collection deletes it.
	WaitingForGarbageCollectionReason = "WaitingForGarbageCollection"
	// WaitingForOverlapReason: a rotation is due, but as many previous revisions as allowed are still valid. The operator
	// rotates when the first of them expires. Only Reconciling has this reason; Ready is not affected.
	WaitingForOverlapReason = "WaitingForOverlap"
	// ProgressingReason: something is due and not done yet, such as issuing a revision, for example because the API server
	// does not answer. The operator retries.
	ProgressingReason = "Progressing"
	// PublishedReason: a chatbot is Ready; the message names its ConfigMap.
	PublishedReason = "Published"
	// ChatbotIDConflictReason: another DGbotChatbot has reserved the chatbot's ID. The operator publishes nothing.
	ChatbotIDConflictReason = "ChatbotIDConflict"
	// ChatbotIDRefusedReason: the API server rejects the reservation of the chatbot's ID (missing namespace dgbot-identity,
	// missing right, quota). The message is that of the API server. The operator publishes nothing.
	ChatbotIDRefusedReason = "ChatbotIDRefused"
	// ConfigMapConflictReason: a foreign ConfigMap has the name of the chatbot's ConfigMap. The operator never touches it.
	ConfigMapConflictReason = "ConfigMapConflict"
	// ConfigMapWriteRefusedReason: the API server rejects the write of the ConfigMap (immutable, quota, webhook, missing
	// right). The message is that of the API server.
	ConfigMapWriteRefusedReason = "ConfigMapWriteRefused" //nolint:gosec // a reason, not a credential
	// CopyWriteRefusedReason: the API server rejects the write of the replica of the HMAC secret in dgbot-identity (missing
	// namespace, missing right, immutable, quota, webhook). The message is that of the API server. The operator publishes
	// nothing. A revocation may not have taken effect.
	CopyWriteRefusedReason = "CopyWriteRefused"
	// ImportRefusedReason: the entry that spec.identityVerification.importFrom names is missing, or cannot be imported as an
	// HMAC secret. The operator issues nothing.
	ImportRefusedReason = "ImportRefused"
	// ImportChangedReason belongs to the condition ImportIgnored: the bytes in the Secret changed after the import. The
	// operator ignores the change.
	ImportChangedReason = "ImportChanged"
	// ImportTooLateReason belongs to the condition ImportIgnored: the operator had issued an HMAC secret before importFrom was
	// set. It ignores importFrom.
	ImportTooLateReason = "ImportTooLate"
	// SurroundingWhiteSpaceReason belongs to the condition ImportPadded: the imported HMAC secret begins or ends with white
	// space. The message explains how to create the Secret again.
	SurroundingWhiteSpaceReason = "SurroundingWhiteSpace"
	// WaitingForChatbotReason: spec.chatbotRef names a DGbotChatbot that does not exist or has no ID yet. A key without a
	// revision waits for it. Later the key keeps the ID that it had; only Reconciling has this reason, and a key that is Ready
	// stays Ready.
	WaitingForChatbotReason = "WaitingForChatbot"

	// EnvironmentPolicyReason: the key breaks a rule of its DGbotEnvironment, so the operator does not issue it. The message
	// names the limit and the value. Also the reason of the condition PolicyViolation.
	EnvironmentPolicyReason = "EnvironmentPolicy"
	// EnvironmentUnknownReason: the manager requires environments (--require-environment, the default), and the key's
	// environment has no DGbotEnvironment. The operator does not issue the key for the first time. Also the reason of the
	// condition EnvironmentMissing.
	EnvironmentUnknownReason = "EnvironmentUnknown"
	// EnforcedReason: a DGbotEnvironment is Ready; the operator enforces its rules.
	EnforcedReason = "Enforced"
	// TimeZoneUnknownReason: a window of a DGbotEnvironment has a time zone that the operator does not know. The operator
	// rotates no key of it on schedule.
	TimeZoneUnknownReason = "TimeZoneUnknown"
	// NoNamespaceReason belongs to the condition SelectsNothing: no namespace has the selected labels. The operator issues no
	// key of the environment for the first time.
	NoNamespaceReason = "NoNamespace"

	// NotUsedReason belongs to the condition Unused: the key is unused. Verifiers still accept it; the condition is the
	// warning.
	NotUsedReason = "NotUsed"
	// DisabledByAuditReason belongs to the condition Unused: the audit disabled the key. Verifiers reject all revisions until
	// a user decides to keep the key. Ready is False with reason Disabled.
	DisabledByAuditReason = "DisabledByAudit"
	// RevokedByAuditReason belongs to the condition Unused: the audit revoked the key. Verifiers reject all revisions for
	// good, and the operator issues none until a user decides to keep the key. Ready is False with reason Revoked.
	RevokedByAuditReason = "RevokedByAudit"

	// VerifiersBehindReason belongs to the condition PropagationPending: the verifiers that the message names have not
	// followed yet.
	VerifiersBehindReason = "VerifiersBehind"
	// VerifierServesStaleReason belongs to the condition PropagationPending: a verifier that is silent answers however old its
	// records are (--on-stale=serve). Time alone proves nothing about it.
	VerifierServesStaleReason = "VerifierServesStale"
	// VerifiersUnknownReason belongs to the condition PropagationPending: no verifier is registered, or the operator cannot
	// know all that may answer: it cannot read the Leases by which they register, or too many of these were deleted. Nothing is proven.
	VerifiersUnknownReason = "VerifiersUnknown"

	// AnnotationUnreadableReason belongs to the condition RequestInvalid: an annotation is not a time in RFC 3339 with whole
	// seconds. The operator ignores it; the message names the annotation.
	AnnotationUnreadableReason = "AnnotationUnreadable"

	// RevocationPendingReason belongs to the condition RequestPending: a revocation is in the future; other requests may be
	// too. It revokes nothing until then.
	RevocationPendingReason = "RevocationPending"
	// RotationPendingReason belongs to the condition RequestPending: a rotation is in the future, and no revocation is. The
	// operator rotates at that time.
	RotationPendingReason = "RotationPending"
	// KeepPendingReason belongs to the condition RequestPending: the annotation keys.dgbot.io/kept-at is in the future, and no
	// rotation or revocation is. The audit ignores it until then.
	KeepPendingReason = "KeepPending"
	// RequestPendingReason is a Warning event: a revocation is in the future, and revokes nothing until then.
	RequestPendingReason = "RequestPending"

	// RecentlyUsedReason belongs to the condition PreviousRevisionInUse: a verifier has reported a use within quietPeriod. The
	// revision stays valid, at most until the end of maxOverlap.
	RecentlyUsedReason = "RecentlyUsed"
	// UsageUnknownReason belongs to the condition PreviousRevisionInUse: verifiers have not reported for long enough to show
	// that the revision is unused. The revision stays valid, at most until the end of maxOverlap.
	UsageUnknownReason = "UsageUnknown"

	// SecretLostReason is a Warning event: the Secret was missing. The operator issued a new revision.
	SecretLostReason = "SecretLost"
	// SecretAlteredReason is a Warning event: the key text in the Secret was changed. The operator issued a new revision.
	SecretAlteredReason = "SecretAltered"
	// RecordLostReason is a Warning event: the record of the key text in the Secret was missing, so verifiers rejected the
	// key. The operator issued a new revision.
	RecordLostReason = "RecordLost"
)

// AbnormalReasons are the reasons of AbnormalConditions.
var AbnormalReasons = [...]string{
	// DisabledReason: spec.state is Disabled, or the audit disabled the key. Verifiers reject all revisions until the key is
	// Active again.
	DisabledReason, RevokedReason, ExpiredReason, ObservationFailedReason,
	// SecretConflictReason: a foreign Secret has the name of this key's Secret. The operator never touches it and issues
	// nothing.
	SecretConflictReason, SecretWriteRefusedReason, RecordConflictReason, RecordWriteRefusedReason, SecretLossDampedReason,
	// WaitingForGarbageCollectionReason: the Secret of a deleted key has the name of this key's Secret. The operator waits
	// until garbage collection deletes it.
	WaitingForGarbageCollectionReason, WaitingForOverlapReason, WaitingForChatbotReason, ProgressingReason,
	// AnnotationUnreadableReason belongs to the condition RequestInvalid: an annotation is not a time in RFC 3339 with whole
	// seconds. The operator ignores it; the message names the annotation.
	AnnotationUnreadableReason, RevocationPendingReason, RotationPendingReason, KeepPendingReason,
	// RecentlyUsedReason belongs to the condition PreviousRevisionInUse: a verifier has reported a use within quietPeriod. The
	// revision stays valid, at most until the end of maxOverlap.
	RecentlyUsedReason, UsageUnknownReason, NotUsedReason, DisabledByAuditReason, RevokedByAuditReason,
	VerifiersBehindReason, VerifierServesStaleReason, VerifiersUnknownReason,
	// EnvironmentPolicyReason: the key breaks a rule of its DGbotEnvironment, so the operator does not issue it. The message
	// names the limit and the value. Also the reason of the condition PolicyViolation.
	EnvironmentPolicyReason, EnvironmentUnknownReason,
	// ChatbotIDConflictReason: another DGbotChatbot has reserved the chatbot's ID. The operator publishes nothing.
	ChatbotIDConflictReason, ChatbotIDRefusedReason, ConfigMapConflictReason, ConfigMapWriteRefusedReason, CopyWriteRefusedReason,
	// ImportRefusedReason: the entry that spec.identityVerification.importFrom names is missing, or cannot be imported as an
	// HMAC secret. The operator issues nothing.
	ImportRefusedReason, ImportChangedReason, ImportTooLateReason, SurroundingWhiteSpaceReason,
}
