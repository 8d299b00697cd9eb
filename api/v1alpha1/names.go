// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Kinds of this package, as they stand in owner references.
const (
	APIKeyKind       = "DGbotAPIKey"
	APIKeyRecordKind = "DGbotAPIKeyRecord"
	ChatbotKind      = "DGbotChatbot"
	EnvironmentKind  = "DGbotEnvironment"
)

// Labels and annotations. Everything under keys.dgbot.io/ belongs to the operator, except the two request
// annotations, which are for people and tools.
const (
	// APIKeyLabel stands on records and Secrets; its value is the uid of the DGbotAPIKey they belong to.
	APIKeyLabel = "keys.dgbot.io/api-key"
	// ChatbotLabel stands on ConfigMaps; its value is the uid of the DGbotChatbot they belong to.
	ChatbotLabel = "keys.dgbot.io/chatbot"
	// ClaimHolderLabel stands on the claims of chatbot IDs; its value is the first 16 hex digits of the SHA-256 of the
	// chatbot's namespace, "/" and name.
	ClaimHolderLabel = "keys.dgbot.io/claim-holder"
	// ChatbotHolderAnnotation stands on the copy of a chatbot's HMAC secret: the chatbot's namespace, "/" and name.
	ChatbotHolderAnnotation = "keys.dgbot.io/chatbot-holder"
	// AbandonedAnnotation stands on the copy of a chatbot's HMAC secret: the kid of one that was announced, and that the copy
	// will never have.
	AbandonedAnnotation = "keys.dgbot.io/abandoned"
	// ManagedByLabel stands on Secrets with the value ManagedBy.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "dgbot-key-operator"

	// OwnerAnnotation stands on the Secrets and ConfigMaps that the operator publishes: namespace, "/" and name of the object that
	// they are published for. With it, the operator finds the owner of a copy in another namespace by one read.
	OwnerAnnotation = "keys.dgbot.io/owner"
	// RevisionAnnotation stands on Secrets: the revision whose key they hold.
	RevisionAnnotation = "keys.dgbot.io/revision"
	// TemplateAnnotation stands on Secrets: which of their labels and annotations came from spec.secret.template, so
	// that those are removed when the template no longer has them, and no others.
	TemplateAnnotation = "keys.dgbot.io/template"
	// SupersededByAnnotation stands on records: the published revision that set their notAfter to the end of the
	// overlap. It tells a superseded revision from one whose key merely expires.
	SupersededByAnnotation = "keys.dgbot.io/superseded-by"
	// AuditAnnotation stands on the newest record of a key that the audit has disabled or revoked: the stage, when it was
	// reached, and since when the key was unused, as JSON. What has been done to the records outlives the key's status by it.
	AuditAnnotation = "keys.dgbot.io/audit"

	// RotateRequestedAtAnnotation on a DGbotAPIKey asks for what spec.rotation.requestedAt asks for, without
	// touching spec. RFC 3339, whole seconds.
	RotateRequestedAtAnnotation = "keys.dgbot.io/rotate-requested-at"
	// RevokeIssuedBeforeAnnotation on a DGbotAPIKey asks for what spec.rotation.revokeIssuedBefore asks for, without
	// touching spec. RFC 3339, whole seconds.
	RevokeIssuedBeforeAnnotation = "keys.dgbot.io/revoke-issued-before"
	// KeptAtAnnotation on a DGbotAPIKey is when somebody decided to keep it although it is not used: the audit counts from then,
	// and takes back what can be. RFC 3339, whole seconds.
	KeptAtAnnotation = "keys.dgbot.io/kept-at"
)

// ExportingNames matches the names of labels and annotations by which replicators copy a Secret to other namespaces, whatever their
// case. It goes by words and not by a list of replicators, of which there are many: those of Reflector, kubernetes-replicator, Config
// Syncer (kubed), Synator, k8s-duplicator and kube-syncer have one of them. The rules of SecretTemplate have the same expression.
const ExportingNames = `(?i)replicat|reflect|duplicat|mirror|propagat|kubed|synator|(^|[^a])sync`

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
	SecretChatbotID     = "chatbot-id"
	SecretType          = "type"
	SecretTypeValue     = "dgbot-api-key"
	SecretProvider      = "provider"
	SecretProviderValue = "dgbot"
)

// APIKeySecretEntries are the entries that the operator owns in a published Secret, beside the key itself. It is the only
// list: the operator publishes these and no others, and the CRD rejects each of them as spec.secret.key.
var APIKeySecretEntries = [...]string{SecretKeyID, SecretEnvironment, SecretChatbotID, SecretType, SecretProvider}

// What a chatbot's ConfigMap holds.
const (
	WidgetChatbotID = "chatbot-id"
	WidgetSnippet   = "embed.html"
	// DefaultScriptURL is what the snippet loads where spec.widget.scriptURL says nothing.
	DefaultScriptURL = "https://cdn.dgbot.io/widget.js"
)

// Entries of a chatbot's Secret. The copy in IdentityNamespace, which verifiers read, has them as well, and more beside them: see
// docs/chatbots.md.
const (
	IdentitySecretKey      = "hmac-secret"
	IdentityKID            = "kid"
	IdentityChatbotID      = "chatbot-id"
	IdentityPreviousSuffix = "-previous"
)

// IdentitySecretEntries are the entries that the operator owns in a chatbot's Secret. It is the only list.
var IdentitySecretEntries = [...]string{
	IdentitySecretKey, IdentityKID, IdentityChatbotID, IdentitySecretKey + IdentityPreviousSuffix, IdentityKID + IdentityPreviousSuffix,
}

// Further entries of the copy. Those of a revision end in IdentityPreviousSuffix or IdentityPendingSuffix, as its secret does.
const (
	IdentityPendingSuffix = "-pending"
	CopyRevision          = "revision"
	CopyCause             = "cause"
	CopyIssuedAt          = "issued-at"
	// CopyNotAfter is from when on a verifier no longer accepts it. RFC 3339, whole seconds.
	CopyNotAfter    = "not-after"
	CopyAcceptPlain = "accept-plain"
	CopyEnvironment = "environment"
	CopyNamespace   = "namespace"
	CopyName        = "name"
)

// IdentityNamespace holds what is the cluster's and not a namespace's: which chatbot has which ID, in one ConfigMap for each
// ID, and in a Secret of the same name the copy of its HMAC secrets. The name is "chatbot-" and the first 16 hex digits of the
// ID's SHA-256.
const IdentityNamespace = "dgbot-identity"

// SelectableAPIKeyUID is the field of records by which those of a key are found.
const SelectableAPIKeyUID = "spec.apiKeyRef.uid"
