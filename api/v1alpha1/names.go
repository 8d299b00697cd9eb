// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Kinds of this package, as they stand in owner references.
const (
	APIKeyKind       = "DGbotAPIKey"
	APIKeyRecordKind = "DGbotAPIKeyRecord"
)

// Labels and annotations. Everything under keys.dgbot.io/ belongs to the operator, except the two request
// annotations, which are for people and tools.
const (
	// APIKeyLabel stands on records and Secrets; its value is the uid of the DGbotAPIKey they belong to.
	APIKeyLabel = "keys.dgbot.io/api-key"
	// ManagedByLabel stands on Secrets with the value ManagedBy.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "dgbot-key-operator"

	// RevisionAnnotation stands on Secrets: the revision whose key they hold.
	RevisionAnnotation = "keys.dgbot.io/revision"
	// TemplateAnnotation stands on Secrets: which of their labels and annotations came from spec.secret.template, so
	// that those are removed when the template no longer has them, and no others.
	TemplateAnnotation = "keys.dgbot.io/template"
	// SupersededByAnnotation stands on records: the published revision that set their notAfter to the end of the
	// overlap. It tells a superseded revision from one whose key merely expires.
	SupersededByAnnotation = "keys.dgbot.io/superseded-by"

	// RotateRequestedAtAnnotation on a DGbotAPIKey asks for what spec.rotation.requestedAt asks for, without
	// touching spec. RFC 3339, whole seconds.
	RotateRequestedAtAnnotation = "keys.dgbot.io/rotate-requested-at"
	// RevokeIssuedBeforeAnnotation on a DGbotAPIKey asks for what spec.rotation.revokeIssuedBefore asks for, without
	// touching spec. RFC 3339, whole seconds.
	RevokeIssuedBeforeAnnotation = "keys.dgbot.io/revoke-issued-before"
)

// Verifiers renew one Lease per environment, in their own namespace, whenever they have reported the uses they know of. It
// is called UsageLeasePrefix and the environment.
const (
	UsageLeasePrefix = "dgbot-usage-"
	// TrackedSinceAnnotation on that Lease is since when it has been renewed without a gap. RFC 3339, whole seconds.
	TrackedSinceAnnotation = "keys.dgbot.io/tracked-since"
)

// Entries of a published Secret beside the key itself, which stands under spec.secret.key.
const (
	DefaultSecretKey    = "api-key"
	SecretKeyID         = "key-id"
	SecretEnvironment   = "environment"
	SecretType          = "type"
	SecretTypeValue     = "dgbot-api-key"
	SecretProvider      = "provider"
	SecretProviderValue = "dgbot"
)

// SelectableAPIKeyUID is the field of records by which those of a key are found.
const SelectableAPIKeyUID = "spec.apiKeyRef.uid"
