// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types of a DGbotAPIKey.
const (
	// ReadyCondition is always present. True: the Secret holds a key that verifies.
	ReadyCondition = "Ready"
	// ReconcilingCondition is present only while True: the operator is working or waiting for something that comes
	// by itself. Tools that follow kstatus show the object as in progress.
	ReconcilingCondition = "Reconciling"
	// StalledCondition is present only while True: nothing goes on until a person changes something. Tools that
	// follow kstatus show the object as failed.
	StalledCondition = "Stalled"
	// RequestInvalidCondition is present only while True: one of the annotations that ask for something cannot be read and is
	// ignored. Ready is not affected.
	RequestInvalidCondition = "RequestInvalid"
	// RequestPendingCondition is present only while True: a request to rotate, to revoke or to keep the key, in spec or in an
	// annotation, lies in the future and does nothing until then. The message names instant and source, and the revisions that
	// still verify. Ready is not affected.
	RequestPendingCondition = "RequestPending"
	// PreviousRevisionInUseCondition is present only while True: with spec.rotation.retire: WhenUnused an earlier revision
	// goes on verifying beyond its overlap, because it is used or because no verifier says that it is not. The message
	// names revision and last use. Ready is not affected.
	PreviousRevisionInUseCondition = "PreviousRevisionInUse"
	// PolicyViolationCondition is present only while True: a key that has been issued breaks a rule of its DGbotEnvironment,
	// and is held to the nearest permitted value; the message names limit and value. Ready is not affected.
	PolicyViolationCondition = "PolicyViolation"
	// EnvironmentMissingCondition is present only while True: the manager requires environments, and the DGbotEnvironment of a
	// key that was issued does not exist. The key goes on by its own spec, without rules. Ready is not affected.
	EnvironmentMissingCondition = "EnvironmentMissing"
	// UnusedCondition is present only while True: nobody has used the key for as long as the audit of its DGbotEnvironment
	// allows. The message says since when, what comes next, and how to keep the key.
	UnusedCondition = "Unused"
	// SelectsNothingCondition of a DGbotEnvironment is present only while True: its namespaceSelector selects no namespace
	// that there is. Ready is not affected.
	SelectsNothingCondition = "SelectsNothing"
	// ImportIgnoredCondition is present only while True: spec.identityVerification.importFrom names something else than what
	// the chatbot's HMAC secret began with. Ready is not affected.
	ImportIgnoredCondition = "ImportIgnored"
	// ImportPaddedCondition is present only while True: the present HMAC secret was imported and begins or ends with white
	// space, which is probably not meant. Ready is not affected.
	ImportPaddedCondition = "ImportPadded"
)

// AbnormalConditions are the condition types of DGbotAPIKeys and DGbotChatbots that are present only while True.
var AbnormalConditions = [...]string{
	ReconcilingCondition, StalledCondition, RequestInvalidCondition, RequestPendingCondition, PreviousRevisionInUseCondition,
	ImportIgnoredCondition, ImportPaddedCondition, PolicyViolationCondition, EnvironmentMissingCondition, UnusedCondition,
}

// Reasons. The same words stand in conditions, events and logs.
const (
	// IssuedReason: Ready is True; the message names the revision and the Secret. As an event: a revision was
	// issued; the note names its cause.
	IssuedReason = "Issued"
	// DisabledReason: spec.state is Disabled; no revision verifies until it is Active again.
	DisabledReason = "Disabled"
	// RevokedReason: spec.state is Revoked; no revision will ever verify again.
	RevokedReason = "Revoked"
	// ExpiredReason: spec.expiresAt has passed.
	ExpiredReason = "Expired"
	// ObservationFailedReason: the operator could not read something that it decides on, such as the Secret, the
	// DGbotEnvironment or the DGbotChatbot; the message names it, with the API server's answer. Revocation, disabling, expiry
	// and deletion are applied all the same; nothing is issued, published or repaired until the read succeeds.
	ObservationFailedReason = "ObservationFailed"
	// SecretConflictReason: the Secret's name is taken by a Secret that is not this key's. It is never touched.
	SecretConflictReason = "SecretConflict"
	// SecretWriteRefusedReason: the API server refuses to write the Secret (immutable, another type, quota, webhook,
	// missing right); the message is its own. Nothing is minted.
	SecretWriteRefusedReason = "SecretWriteRefused"
	// RecordConflictReason: the next record's name is taken by a record of another key. Nothing is minted.
	RecordConflictReason = "RecordConflict"
	// RecordWriteRefusedReason: the API server refuses to create or change a record (quota, webhook, missing right);
	// the message is its own. Nothing is published, and a revocation may not have been carried out.
	RecordWriteRefusedReason = "RecordWriteRefused"
	// SecretLossDampedReason: the Secret was lost or altered so often within the hour that its replacement waits;
	// the message says until when.
	SecretLossDampedReason = "SecretLossDamped"
	// WaitingForGarbageCollectionReason: a Secret left over from a deleted key holds the name; the operator waits
	// for the cluster to collect it.
	WaitingForGarbageCollectionReason = "WaitingForGarbageCollection"
	// WaitingForOverlapReason: a rotation is due, but as many earlier revisions as are allowed still verify; it
	// happens as soon as one of them has ended. Reconciling only: Ready is not affected.
	WaitingForOverlapReason = "WaitingForOverlap"
	// ProgressingReason: a revision is due and could not be issued yet, because the API server does not answer.
	ProgressingReason = "Progressing"
	// PublishedReason: a chatbot is Ready; the message names its ConfigMap.
	PublishedReason = "Published"
	// ChatbotIDConflictReason: the chatbot's ID belongs to another DGbotChatbot. Nothing is published.
	ChatbotIDConflictReason = "ChatbotIDConflict"
	// ChatbotIDRefusedReason: the API server refuses to note whose the chatbot's ID is (the namespace dgbot-identity or a
	// right in it is missing, a quota); the message is its own. Nothing is published.
	ChatbotIDRefusedReason = "ChatbotIDRefused"
	// ConfigMapConflictReason: the name of the chatbot's ConfigMap is taken by one that is not this chatbot's. It is never
	// touched.
	ConfigMapConflictReason = "ConfigMapConflict"
	// ConfigMapWriteRefusedReason: the API server refuses to write the ConfigMap (immutable, quota, webhook, missing
	// right); the message is its own.
	ConfigMapWriteRefusedReason = "ConfigMapWriteRefused" //nolint:gosec // a word
	// CopyWriteRefusedReason: the API server refuses to write the copy of the HMAC secret in dgbot-identity (a right or the
	// namespace is missing, immutable, quota, webhook); the message is its own. Nothing is published, and a revocation may
	// not have been carried out.
	CopyWriteRefusedReason = "CopyWriteRefused"
	// ImportRefusedReason: what spec.identityVerification.importFrom names is missing, or cannot be an HMAC secret. Nothing
	// is issued.
	ImportRefusedReason = "ImportRefused"
	// ImportChangedReason belongs to the condition ImportIgnored: the Secret that was imported from holds something else now.
	ImportChangedReason = "ImportChanged"
	// ImportTooLateReason belongs to the condition ImportIgnored: an HMAC secret had been issued before importFrom was set.
	ImportTooLateReason = "ImportTooLate"
	// SurroundingWhiteSpaceReason belongs to the condition ImportPadded; the message says how to create the Secret again.
	SurroundingWhiteSpaceReason = "SurroundingWhiteSpace"
	// WaitingForChatbotReason: spec.chatbotRef names a DGbotChatbot that is not there, or has no ID yet. Before its first
	// revision a key waits for it; afterwards it goes on with the ID that it had. Reconciling only: a key that is Ready
	// stays so.
	WaitingForChatbotReason = "WaitingForChatbot"

	// EnvironmentPolicyReason: a rule of the key's DGbotEnvironment keeps it from being issued; the message names limit and
	// value. Also the reason of the condition PolicyViolation.
	EnvironmentPolicyReason = "EnvironmentPolicy"
	// EnvironmentUnknownReason: the manager requires environments (--require-environment, the default), and the key's environment has
	// no DGbotEnvironment. The key is not issued for the first time. Also the reason of the condition EnvironmentMissing.
	EnvironmentUnknownReason = "EnvironmentUnknown"
	// EnforcedReason: a DGbotEnvironment is Ready.
	EnforcedReason = "Enforced"
	// TimeZoneUnknownReason: a window of a DGbotEnvironment is in a time zone that the operator does not know. No key of it is
	// rotated on schedule.
	TimeZoneUnknownReason = "TimeZoneUnknown"
	// NoNamespaceReason belongs to the condition SelectsNothing.
	NoNamespaceReason = "NoNamespace"

	// NotUsedReason belongs to the condition Unused: nothing has been done about it yet.
	NotUsedReason = "NotUsed"
	// DisabledByAuditReason belongs to the condition Unused: no revision verifies until somebody decides to keep the key. Ready
	// is False, Disabled.
	DisabledByAuditReason = "DisabledByAudit"
	// RevokedByAuditReason belongs to the condition Unused: no revision will ever verify again, and none is issued until
	// somebody decides to keep the key. Ready is False, Revoked.
	RevokedByAuditReason = "RevokedByAudit"

	// AnnotationUnreadableReason belongs to the condition RequestInvalid; the message names the annotation.
	AnnotationUnreadableReason = "AnnotationUnreadable"

	// RevocationPendingReason belongs to the condition RequestPending: a revocation lies in the future; other requests may as
	// well.
	RevocationPendingReason = "RevocationPending"
	// RotationPendingReason belongs to the condition RequestPending: a rotation lies in the future, and no revocation.
	RotationPendingReason = "RotationPending"
	// KeepPendingReason belongs to the condition RequestPending: the annotation keys.dgbot.io/kept-at lies in the future, and
	// no rotation or revocation.
	KeepPendingReason = "KeepPending"
	// RequestPendingReason is a Warning event: a revocation lies in the future, and revokes nothing until then.
	RequestPendingReason = "RequestPending"

	// RecentlyUsedReason belongs to the condition PreviousRevisionInUse: a verifier has reported a use within
	// quietPeriod.
	RecentlyUsedReason = "RecentlyUsed"
	// UsageUnknownReason belongs to the condition PreviousRevisionInUse: no verifier has reported for long enough to
	// say that the revision is not used.
	UsageUnknownReason = "UsageUnknown"

	// SecretLostReason is a Warning event: the Secret was gone and has been replaced by a new revision.
	SecretLostReason = "SecretLost"
	// SecretAlteredReason is a Warning event: the key in the Secret was changed and has been replaced by a new revision.
	SecretAlteredReason = "SecretAltered"
	// RecordLostReason is a Warning event: the record of the key in the Secret was gone, so that the key no longer
	// verified, and a new revision has been issued.
	RecordLostReason = "RecordLost"
)

// AbnormalReasons are the reasons of AbnormalConditions.
var AbnormalReasons = [...]string{
	DisabledReason, RevokedReason, ExpiredReason, ObservationFailedReason,
	SecretConflictReason, SecretWriteRefusedReason, RecordConflictReason, RecordWriteRefusedReason, SecretLossDampedReason,
	WaitingForGarbageCollectionReason, WaitingForOverlapReason, WaitingForChatbotReason, ProgressingReason,
	AnnotationUnreadableReason, RevocationPendingReason, RotationPendingReason, KeepPendingReason,
	RecentlyUsedReason, UsageUnknownReason, NotUsedReason, DisabledByAuditReason, RevokedByAuditReason,
	EnvironmentPolicyReason, EnvironmentUnknownReason,
	ChatbotIDConflictReason, ChatbotIDRefusedReason, ConfigMapConflictReason, ConfigMapWriteRefusedReason, CopyWriteRefusedReason,
	ImportRefusedReason, ImportChangedReason, ImportTooLateReason, SurroundingWhiteSpaceReason,
}
