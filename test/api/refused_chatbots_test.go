// SPDX-License-Identifier: Apache-2.0

package api

import "testing"

func TestBadChatbotsAreRefusedWithAReason(t *testing.T) { refuse(t, goodChatbot, true, badChatbots) }

func TestChangesOfAChatbotAreRefusedWithAReason(t *testing.T) {
	refuse(t, goodChatbot, false, badChatbotChanges)
}

const (
	badChatbot = `DGbotChatbot.keys.dgbot.io "support-bot" is invalid: `
	badScript  = `: widget.scriptURL must be an https URL without a user and without characters that have to be escaped, such as https://cdn.example.com/widget.js: a page must not load scripts over a line that others can change`
	badID      = `: chatbotID must be 1-64 letters, digits, _ or - and begin with a letter or digit, such as cb_4f1c9a`
)

// badChatbots are what creating goodChatbot with a patch laid over it is answered with.
var badChatbots = []refusal{
	{name: "name blank", patch: `{"spec": {"displayName": " "}}`,
		want: badChatbot + `spec.displayName: Invalid value: " ": displayName must not be blank: say what people call the chatbot, such as "Support bot"`},
	{name: "name of two lines", patch: `{"spec": {"displayName": "a\nb"}}`,
		want: badChatbot + `spec.displayName: Invalid value: "a\nb": displayName must be one line without control characters, those that are invisible or change the direction of text included`},
	{name: "environment in capitals", patch: `{"spec": {"environment": "Production"}}`,
		want: badChatbot + `spec.environment: Invalid value: "Production": environment must be 1-32 lower-case letters, digits or inner hyphens and begin with a letter, such as production`},
	{name: "an ID with markup", patch: `{"spec": {"chatbotID": "\"><script>"}}`,
		want: badChatbot + `spec.chatbotID: Invalid value: "\"><script>"` + badID},
	{name: "an ID with a line break", patch: `{"spec": {"chatbotID": "cb_1\n"}}`,
		want: badChatbot + `spec.chatbotID: Invalid value: "cb_1\n"` + badID},
	{name: "a script over http", patch: `{"spec": {"widget": {"scriptURL": "http://cdn.example.com/widget.js"}}}`,
		want: badChatbot + `spec.widget.scriptURL: Invalid value: "http://cdn.example.com/widget.js"` + badScript},
	{name: "a script without a host", patch: `{"spec": {"widget": {"scriptURL": "https:///widget.js"}}}`,
		want: badChatbot + `spec.widget.scriptURL: Invalid value: "https:///widget.js"` + badScript},
	{name: "a script that is code", patch: `{"spec": {"widget": {"scriptURL": "javascript:alert(1)"}}}`,
		want: badChatbot + `spec.widget.scriptURL: Invalid value: "javascript:alert(1)"` + badScript},
	{name: "a script with a user", patch: `{"spec": {"widget": {"scriptURL": "https://cdn.example.com@evil.example.com/w.js"}}}`,
		want: badChatbot + `spec.widget.scriptURL: Invalid value: "https://cdn.example.com@evil.example.com/w.js"` + badScript},
	{name: "a script with a quote", patch: `{"spec": {"widget": {"scriptURL": "https://cdn.example.com/\"w.js"}}}`,
		want: badChatbot + `spec.widget.scriptURL: Invalid value: "https://cdn.example.com/\"w.js"` + badScript},
	{name: "a script with a line break", patch: `{"spec": {"widget": {"scriptURL": "https://cdn.example.com/w.js\n"}}}`,
		want: badChatbot + `spec.widget.scriptURL: Invalid value: "https://cdn.example.com/w.js\n"` + badScript},
	{name: "an impossible ConfigMap", patch: `{"spec": {"widget": {"configMapName": "Web"}}}`,
		want: badChatbot + `spec.widget.configMapName: Invalid value: "Web": widget.configMapName must be a name that a ConfigMap may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit`},
	{name: "an ID without the right to adopt it", user: namespaceAdmin, patch: `{"spec": {"chatbotID": "cb_known"}}`,
		want: `dgbotchatbots.keys.dgbot.io "support-bot" is forbidden: ValidatingAdmissionPolicy 'dgbot-chatbots' with binding 'dgbot-chatbots' denied request: adopting chatbot ID "cb_known" needs the verb "adopt" on dgbotchatbots.keys.dgbot.io in the whole cluster, which alice does not have: ask a cluster admin for a ClusterRoleBinding, or leave spec.chatbotID out for a new ID`},
	{name: "an interval of seconds", patch: `{"spec": {"identityVerification": {"rotation": {"interval": "30s", "overlap": null}}}}`,
		want: badChatbot + `spec.identityVerification.rotation.interval: Invalid value: "30s": interval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 90m or 2160h (days are not a unit: 2160h is 90 days)`},
	{name: "an interval in days", patch: `{"spec": {"identityVerification": {"rotation": {"interval": "90d"}}}}`,
		want: badChatbot + `spec.identityVerification.rotation.interval: Invalid value: "90d": interval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 90m or 2160h (days are not a unit: 2160h is 90 days)`},
	{name: "an overlap as long as the interval", patch: `{"spec": {"identityVerification": {"rotation": {"interval": "1h", "overlap": "60m"}}}}`,
		want: badChatbot + `spec.identityVerification.rotation.overlap: Invalid value: overlap must be less than interval: at most one previous secret is valid at a time`},
	{name: "a revocation on a date", patch: `{"spec": {"identityVerification": {"rotation": {"revokeIssuedBefore": "2026-11-23"}}}}`,
		want: badChatbot + `spec.identityVerification.rotation.revokeIssuedBefore: Invalid value: "2026-11-23": revokeIssuedBefore must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z`},
	{name: "a request with fractions", patch: `{"spec": {"identityVerification": {"rotation": {"requestedAt": "2026-11-23T10:00:00.5Z"}}}}`,
		want: badChatbot + `spec.identityVerification.rotation.requestedAt: Invalid value: "2026-11-23T10:00:00.5Z": requestedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z`},
	{name: "retire, which is of keys", patch: `{"spec": {"identityVerification": {"rotation": {"retire": "WhenUnused"}}}}`,
		want: `DGbotChatbot in version "v1alpha1" cannot be handled as a DGbotChatbot: strict decoding error: unknown field "spec.identityVerification.rotation.retire"`},
	{name: "an impossible Secret", patch: `{"spec": {"identityVerification": {"secret": {"name": "Web"}}}}`,
		want: badChatbot + `spec.identityVerification.secret.name: Invalid value: "Web": identityVerification.secret.name must be a name that a Secret may have: lower-case letters, digits, - and ., beginning and ending with a letter or digit`},
	{name: "an import from an impossible entry", patch: `{"spec": {"identityVerification": {"importFrom": {"name": "existing", "key": "a/b"}}}}`,
		want: badChatbot + `spec.identityVerification.importFrom.key: Invalid value: "a/b": importFrom.key must be a name that an entry of a Secret may have: letters, digits, -, _ and .`},
	{name: "an import without an entry", patch: `{"spec": {"identityVerification": {"importFrom": {"name": "existing"}}}}`,
		want: `DGbotChatbot.keys.dgbot.io "support-bot" is invalid: [spec.identityVerification.importFrom.key: Required value` + notChecked},
	{name: "an import from what is published", patch: `{"spec": {"identityVerification": {"importFrom": {"name": "web-identity", "key": "hmac-secret"}}}}`,
		want: badChatbot + `spec.identityVerification.importFrom.name: Invalid value: importFrom.name must be another Secret than the one that is published: set identityVerification.secret.name to a name that is free`},
	{name: "an import without the right to read it", user: editor, patch: `{"spec": {"identityVerification": {"importFrom": {"name": "existing", "key": "hmac"}}}}`,
		want: `dgbotchatbots.keys.dgbot.io "support-bot" is forbidden: ValidatingAdmissionPolicy 'dgbot-chatbots' with binding 'dgbot-chatbots' denied request: importing an HMAC secret from Secret "existing" needs the right to get that Secret, which bob does not have in namespace "` + namespace + `": ask for it, or leave importFrom out for a new HMAC secret`},
}

// badChatbotChanges are what changing a chatbot is answered with.
var badChatbotChanges = []refusal{
	{name: "environment", patch: `{"spec": {"environment": "staging"}}`,
		want: badChatbot + `spec.environment: Forbidden: environment is immutable: create another DGbotChatbot for another environment`},
	{name: "an ID afterwards", patch: `{"spec": {"chatbotID": "cb_known"}}`,
		want: badChatbot + `spec.chatbotID: Forbidden: chatbotID is immutable: a chatbot keeps the ID it was created with; create another DGbotChatbot for another ID`},
	{name: "another ConfigMap", patch: `{"spec": {"widget": {"configMapName": "other"}}}`,
		want: badChatbot + `spec.widget.configMapName: Forbidden: widget.configMapName is immutable: create another DGbotChatbot to publish under another name`},
	{name: "no ConfigMap name any more", patch: `{"spec": {"widget": null}}`,
		want: badChatbot + `spec.widget.configMapName: Forbidden: widget.configMapName is immutable: create another DGbotChatbot to publish under another name`},
	{name: "another Secret", patch: `{"spec": {"identityVerification": {"secret": {"name": "other"}}}}`,
		want: badChatbot + `spec.identityVerification.secret.name: Forbidden: identityVerification.secret.name is immutable: create another DGbotChatbot to publish under another name`},
	{name: "no Secret name any more", patch: `{"spec": {"identityVerification": {"secret": null}}}`,
		want: badChatbot + `spec.identityVerification.secret.name: Forbidden: identityVerification.secret.name is immutable: create another DGbotChatbot to publish under another name`},
	{name: "an import without the right to read it", user: editor, patch: `{"spec": {"identityVerification": {"importFrom": {"name": "existing", "key": "hmac"}}}}`,
		want: `dgbotchatbots.keys.dgbot.io "support-bot" is forbidden: ValidatingAdmissionPolicy 'dgbot-chatbots' with binding 'dgbot-chatbots' denied request: importing an HMAC secret from Secret "existing" needs the right to get that Secret, which bob does not have in namespace "` + namespace + `": ask for it, or leave importFrom out for a new HMAC secret`},
	{name: "status", user: namespaceAdmin, status: true, patch: `{"status": {"chatbotID": "cb_other"}}`,
		want: `dgbotchatbots.keys.dgbot.io "support-bot" is forbidden: ValidatingAdmissionPolicy 'dgbot-apikey-status' with binding 'dgbot-apikey-status' denied request: the status of a DGbotChatbot is written by the DGbot key operator alone (you are alice). Change spec instead`},
}
