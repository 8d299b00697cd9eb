// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Kinds of this package, as owner references name them.
const (
	APIKeyKind       = "DGbotAPIKey"
	APIKeyRecordKind = "DGbotAPIKeyRecord"
	ChatbotKind      = "DGbotChatbot"
	EnvironmentKind  = "DGbotEnvironment"
)

// Labels and annotations. Everything under keys.dgbot.io/ belongs to the operator, except the request annotations, which
// users and tools set.
const (
	// APIKeyLabel is on records and Secrets. Its value is the UID of the DGbotAPIKey that they belong to.
	APIKeyLabel = "keys.dgbot.io/api-key"
	// ChatbotLabel is on ConfigMaps. Its value is the UID of the DGbotChatbot that they belong to.
	ChatbotLabel = "keys.dgbot.io/chatbot"
	// ClaimHolderLabel is on the reservations of chatbot IDs. Its value is the first 16 hex digits of the SHA-256 of the
	// chatbot's namespace, "/" and name.
	ClaimHolderLabel = "keys.dgbot.io/claim-holder"
	// ChatbotHolderAnnotation is on the replica of a chatbot's HMAC secret: the chatbot's namespace, "/" and name.
	ChatbotHolderAnnotation = "keys.dgbot.io/chatbot-holder"
	// AbandonedAnnotation is on the replica of a chatbot's HMAC secret: the kid of a pending secret that the operator will
	// never write to the replica.
	AbandonedAnnotation = "keys.dgbot.io/abandoned"
	// ManagedByLabel is on Secrets, with the value ManagedBy.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "dgbot-key-operator"

	// OwnerAnnotation is on the Secrets and ConfigMaps that the operator publishes: namespace, "/" and name of the object that
	// they belong to. If a replicator copies a Secret to another namespace, the operator finds the owner of the copy by one
	// read.
	OwnerAnnotation = "keys.dgbot.io/owner"
	// RevisionAnnotation is on Secrets: the revision whose key text they hold.
	RevisionAnnotation = "keys.dgbot.io/revision"
	// TemplateAnnotation is on Secrets: which of their labels and annotations came from spec.secret.template. When the
	// template no longer has one of them, the operator removes it, and no other.
	TemplateAnnotation = "keys.dgbot.io/template"
	// SupersededByAnnotation is on records: the published revision that set their notAfter to the end of the overlap. It
	// distinguishes a superseded revision from one whose key only expires.
	SupersededByAnnotation = "keys.dgbot.io/superseded-by"
	// AuditAnnotation is on the newest record of a key that the audit has disabled or revoked: the stage, when the key reached
	// it, and since when the key was unused, as JSON. The operator reads it when the key's status is lost.
	AuditAnnotation = "keys.dgbot.io/audit"

	// RotateRequestedAtAnnotation on a DGbotAPIKey or DGbotChatbot makes the same request as rotation.requestedAt, without a
	// change of spec. A time in RFC 3339 with whole seconds.
	RotateRequestedAtAnnotation = "keys.dgbot.io/rotate-requested-at"
	// RevokeIssuedBeforeAnnotation on a DGbotAPIKey or DGbotChatbot makes the same request as rotation.revokeIssuedBefore,
	// without a change of spec. A time in RFC 3339 with whole seconds.
	RevokeIssuedBeforeAnnotation = "keys.dgbot.io/revoke-issued-before"
	// KeptAtAnnotation on a DGbotAPIKey is when a user decided to keep it although it is unused. The audit counts from then,
	// and undoes what it can. A time in RFC 3339 with whole seconds.
	KeptAtAnnotation = "keys.dgbot.io/kept-at"
)

// Each verifier process registers by a Lease of its own, in the namespace of the usage Leases. Its name is VerifierLeasePrefix, the name of
// the pod or host, cut to 200 characters, "-" and 8 random characters. Package internal/registration reads and writes it.
const (
	VerifierLeasePrefix = "dgbot-verifier-"
	// VerifierLabel is on these Leases, with the value "true".
	VerifierLabel = "keys.dgbot.io/verifier"
	// ObservedVersionsAnnotation says for each watch of records up to which resourceVersion the verifier has applied it:
	// namespace, "/", environment, "=" and version, separated by commas; "*" for all namespaces or environments. Absent before
	// the first complete list.
	ObservedVersionsAnnotation = "keys.dgbot.io/observed-versions"
	// MaxStalenessAnnotation is --max-staleness of the verifier.
	MaxStalenessAnnotation = "keys.dgbot.io/max-staleness"
	// OnStaleAnnotation is --on-stale of the verifier: deny or serve.
	OnStaleAnnotation = "keys.dgbot.io/on-stale"
	// RegisteredByAnnotation is the user that writes the Lease. An admission policy compares it with the requester.
	RegisteredByAnnotation = "keys.dgbot.io/registered-by"
	// StoppedAnnotation is when the process gave its last answer. A person who made sure that a verifier no longer runs may
	// set it.
	StoppedAnnotation = "keys.dgbot.io/stopped"

	// WithdrawnAtAnnotation is on records that the operator has withdrawn while they were valid: when it did, in RFC 3339 with
	// microseconds.
	WithdrawnAtAnnotation = "keys.dgbot.io/withdrawn-at"
)

// ExportingNames matches the names of labels and annotations by which replicators copy a Secret to other namespaces, in
// upper or lower case. It matches words instead of a list of replicators, because there are many of them. Reflector,
// kubernetes-replicator, Config Syncer (kubed), Synator, k8s-duplicator and kube-syncer each have one of the words. The
// rules of SecretTemplate have the same expression.
const ExportingNames = `(?i)replicat|reflect|duplicat|mirror|propagat|kubed|synator|(^|[^a])sync`

// Verifiers renew one Lease per environment, in their own namespace, at every flush that has reported all known uses. Its
// name is UsageLeasePrefix and the environment.
const (
	UsageLeasePrefix = "dgbot-usage-"
	// TrackedSinceAnnotation on that Lease is the time since which verifiers have renewed it without a gap. A time in RFC 3339
	// with whole seconds.
	TrackedSinceAnnotation = "keys.dgbot.io/tracked-since"
)

// Entries of a published Secret beside the key text, which is in the entry spec.secret.key.
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

// APIKeySecretEntries are the entries that the operator owns in a published Secret, beside the key text. It is the only
// list: the operator publishes these and no others, and the CRD rejects each of them as spec.secret.key.
var APIKeySecretEntries = [...]string{SecretKeyID, SecretEnvironment, SecretChatbotID, SecretType, SecretProvider}

// Entries of a chatbot's ConfigMap.
const (
	WidgetChatbotID = "chatbot-id"
	WidgetSnippet   = "embed.html"
	// DefaultScriptURL is the script that the snippet loads if spec.widget.scriptURL is empty.
	DefaultScriptURL = "https://cdn.dgbot.io/widget.js"
)

// Entries of a chatbot's Secret. The replica in IdentityNamespace, which verifiers read, has these and more: see
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

// Further entries of the replica. Those of a previous or pending revision end in IdentityPreviousSuffix or
// IdentityPendingSuffix, as its secret does.
const (
	IdentityPendingSuffix = "-pending"
	CopyRevision          = "revision"
	CopyCause             = "cause"
	CopyIssuedAt          = "issued-at"
	// CopyNotAfter is the instant from which on verifiers reject the secret. A time in RFC 3339 with whole seconds.
	CopyNotAfter    = "not-after"
	CopyAcceptPlain = "accept-plain"
	CopyEnvironment = "environment"
	CopyNamespace   = "namespace"
	CopyName        = "name"
)

// IdentityNamespace is the namespace of objects that belong to the cluster and not to one namespace. For each chatbot ID
// it has a ConfigMap, the reservation, and a Secret of the same name, the replica of the HMAC secrets. Their name is
// "chatbot-" and the first 16 hex digits of the ID's SHA-256.
const IdentityNamespace = "dgbot-identity"

// SelectableAPIKeyUID is the selectable field of records that has the UID of their key.
const SelectableAPIKeyUID = "spec.apiKeyRef.uid"
