// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestRecordsAreNotWrittenByHand(t *testing.T) { refuse(t, goodRecord, true, badRecords) }

func TestARecordIsNeitherRevivedNorExtended(t *testing.T) {
	refuse(t, revokedRecord, false, badRecordChanges)
}

// revokedRecord is goodRecord after its revocation.
var revokedRecord = strings.Replace(goodRecord, `"revision": 1`, `"revision": 1, "state": "Revoked"`, 1)

// badRecords are what creating goodRecord with a patch laid over it is answered with.
var badRecords = []refusal{
	{name: "by a namespace admin", user: namespaceAdmin, patch: `{}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-records' with binding 'dgbot-records' denied request: writing a DGbotAPIKeyRecord means minting a key: only the DGbot key operator may (you are alice). Change or delete the DGbotAPIKey instead`},
	{name: "by a user without any right", user: editor, patch: `{}`,
		want: `dgbotapikeyrecords.keys.dgbot.io is forbidden: User "bob" cannot create resource "dgbotapikeyrecords" in API group "keys.dgbot.io" in the namespace "tenant"`},
	{name: "hash that is none", user: clusterAdmin, patch: `{"spec": {"hash": "sha256:abc"}}`,
		want: badRecord + `spec.hash: Invalid value: "sha256:abc": spec.hash in body should match '^sha256:[0-9a-f]{64}$'`},
	{name: "hash in capitals", user: clusterAdmin, patch: `{"spec": {"hash": "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}`,
		want: badRecord + `spec.hash: Invalid value: "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": spec.hash in body should match '^sha256:[0-9a-f]{64}$'`},
	{name: "plaintext as a hash", user: clusterAdmin, patch: `{"spec": {"hash": "dgbot_production_abcdefABCDEF_x"}}`,
		want: badRecord + `spec.hash: Invalid value: "dgbot_production_abcdefABCDEF_x": spec.hash in body should match '^sha256:[0-9a-f]{64}$'`},
	{name: "keyID too short", user: clusterAdmin, patch: `{"spec": {"keyID": "abc"}}`,
		want: badRecord + `spec.keyID: Invalid value: "abc": spec.keyID in body should match '^[0-9A-Za-z]{12}$'`},
	{name: "cause not on the list", user: clusterAdmin, patch: `{"spec": {"cause": "Whim"}}`,
		want: badRecord + `[spec.cause: Unsupported value: "Whim": supported values: "FirstIssue", "Schedule", "Request", "Revocation", "SecretLost", "SecretAltered", "RecordLost", "Reactivation", "ExpiryChanged"` + notChecked},
	{name: "revision zero", user: clusterAdmin, patch: `{"spec": {"revision": 0}}`,
		want: badRecord + `spec.revision: Invalid value: 0: spec.revision in body should be greater than or equal to 1`},
	{name: "environment in capitals", user: clusterAdmin, patch: `{"spec": {"environment": "Production"}}`,
		want: badRecord + `spec.environment: Invalid value: "Production": spec.environment in body should match '^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$'`},
	{name: "no apiKeyRef", user: clusterAdmin, patch: `{"spec": {"apiKeyRef": null}}`,
		want: badRecord + `[spec.apiKeyRef: Required value` + notChecked},
	{name: "scope twice", user: clusterAdmin, patch: `{"spec": {"scopes": ["a", "a"]}}`,
		want: badRecord + `spec.scopes: Invalid value: scopes must not name a scope twice: remove the repeated entry`},
	{name: "state unknown", user: clusterAdmin, patch: `{"spec": {"state": "Paused"}}`,
		want: badRecord + `[spec.state: Unsupported value: "Paused": supported values: "Active", "Disabled", "Revoked"` + notChecked},
	{name: "issuedAt with fractions", user: clusterAdmin, patch: `{"spec": {"issuedAt": "2026-01-01T00:00:00.1Z"}}`,
		want: badRecord + `spec.issuedAt: Invalid value: "2026-01-01T00:00:00.1Z": spec.issuedAt in body should match ` + timePattern},
}

// badRecordChanges are what a change of revokedRecord is answered with.
var badRecordChanges = []refusal{
	{name: "scopes by a namespace admin", user: namespaceAdmin, patch: `{"spec": {"scopes": ["*"]}}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-records' with binding 'dgbot-records' denied request: writing a DGbotAPIKeyRecord means minting a key: only the DGbot key operator may (you are alice). Change or delete the DGbotAPIKey instead`},
	{name: "label by a namespace admin", user: namespaceAdmin, patch: `{"spec": {"label": "Mine"}}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-records' with binding 'dgbot-records' denied request: writing a DGbotAPIKeyRecord means minting a key: only the DGbot key operator may (you are alice). Change or delete the DGbotAPIKey instead`},
	{name: "revived by a namespace admin", user: namespaceAdmin, patch: `{"spec": {"state": "Active"}}`,
		want: badRecord + `spec.state: Forbidden: Revoked is final: issue a new revision instead`},
	{name: "extended by a namespace admin", user: namespaceAdmin, patch: `{"spec": {"notAfter": "2127-01-01T00:00:00Z"}}`,
		want: badRecord + `spec.notAfter: Forbidden: notAfter may be set and may move earlier; it never moves later and is never removed: issue a new revision instead`},
	{name: "labels by a namespace admin", user: namespaceAdmin, patch: `{"metadata": {"labels": {"keys.dgbot.io/api-key": "other"}}}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-records' with binding 'dgbot-records' denied request: writing a DGbotAPIKeyRecord means minting a key: only the DGbot key operator may (you are alice). Change or delete the DGbotAPIKey instead`},
	{name: "the time of its withdrawal by a namespace admin", user: namespaceAdmin, patch: `{"metadata": {"annotations": {"keys.dgbot.io/withdrawn-at": "2026-11-30T12:00:00.000000Z"}}}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-records' with binding 'dgbot-records' denied request: writing a DGbotAPIKeyRecord means minting a key: only the DGbot key operator may (you are alice). Change or delete the DGbotAPIKey instead`},
	{name: "the time of its withdrawal by a namespace admin, in the status", user: namespaceAdmin, status: true, patch: `{"metadata": {"annotations": {"keys.dgbot.io/withdrawn-at": "2026-11-30T12:00:00.000000Z"}}}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-record-status' with binding 'dgbot-record-status' denied request: the status of a DGbotAPIKeyRecord is written by DGbot verifiers alone (you are alice)`},
	{name: "a new owner by a namespace admin", user: namespaceAdmin, patch: `{"metadata": {"ownerReferences": [{"apiVersion": "keys.dgbot.io/v1alpha1", "kind": "DGbotAPIKey", "name": "crm", "uid": "0-1"}]}}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-records' with binding 'dgbot-records' denied request: writing a DGbotAPIKeyRecord means minting a key: only the DGbot key operator may (you are alice). Change or delete the DGbotAPIKey instead`},
	{name: "status by a namespace admin", user: namespaceAdmin, status: true, patch: `{"metadata": {"labels": {"a": "b"}}}`,
		want: `dgbotapikeyrecords.keys.dgbot.io "crm-00000000-r1" is forbidden: ValidatingAdmissionPolicy 'dgbot-record-status' with binding 'dgbot-record-status' denied request: the status of a DGbotAPIKeyRecord is written by DGbot verifiers alone (you are alice)`},
	{name: "revived by a cluster admin", user: clusterAdmin, patch: `{"spec": {"state": "Active"}}`,
		want: badRecord + `spec.state: Forbidden: Revoked is final: issue a new revision instead`},
	{name: "state removed by a cluster admin", user: clusterAdmin, patch: `{"spec": {"state": null}}`,
		want: badRecord + `spec.state: Forbidden: Revoked is final: issue a new revision instead`},
	{name: "disabled after its revocation by a cluster admin", user: clusterAdmin, patch: `{"spec": {"state": "Disabled"}}`,
		want: badRecord + `spec.state: Forbidden: Revoked is final: issue a new revision instead`},
	{name: "extended by a cluster admin", user: clusterAdmin, patch: `{"spec": {"notAfter": "2127-01-01T00:00:00Z"}}`,
		want: badRecord + `spec.notAfter: Forbidden: notAfter may be set and may move earlier; it never moves later and is never removed: issue a new revision instead`},
	{name: "end removed by a cluster admin", user: clusterAdmin, patch: `{"spec": {"notAfter": null}}`,
		want: badRecord + `spec.notAfter: Forbidden: notAfter may be set and may move earlier; it never moves later and is never removed: issue a new revision instead`},
	{name: "hash by a cluster admin", user: clusterAdmin, patch: `{"spec": {"hash": "sha256:1111111111111111111111111111111111111111111111111111111111111111"}}`,
		want: badRecord + `spec.hash: Forbidden: hash is immutable: a changed hash would be another key`},
	{name: "keyID by a cluster admin", user: clusterAdmin, patch: `{"spec": {"keyID": "ABCDEFabcdef"}}`,
		want: badRecord + `spec.keyID: Forbidden: keyID is immutable`},
	{name: "environment by a cluster admin", user: clusterAdmin, patch: `{"spec": {"environment": "staging"}}`,
		want: badRecord + `spec.environment: Forbidden: environment is immutable`},
	{name: "revision by a cluster admin", user: clusterAdmin, patch: `{"spec": {"revision": 2}}`,
		want: badRecord + `spec.revision: Forbidden: revision is immutable`},
	{name: "cause by a cluster admin", user: clusterAdmin, patch: `{"spec": {"cause": "Request"}}`,
		want: badRecord + `spec.cause: Forbidden: cause is immutable`},
	{name: "issuedAt by a cluster admin", user: clusterAdmin, patch: `{"spec": {"issuedAt": "2026-01-02T00:00:00Z"}}`,
		want: badRecord + `spec.issuedAt: Forbidden: issuedAt is immutable`},
	{name: "another key by a cluster admin", user: clusterAdmin, patch: `{"spec": {"apiKeyRef": {"uid": "0-1"}}}`,
		want: badRecord + `spec.apiKeyRef: Forbidden: apiKeyRef is immutable`},
}

// TestUsesGoOneWay: no user can take back what a verifier has reported.
func TestUsesGoOneWay(t *testing.T) {
	record := object(goodRecord)
	must(t, admin.Create(t.Context(), record))
	t.Cleanup(func() { must(t, client.IgnoreNotFound(admin.Delete(context.Background(), record))) })
	for _, test := range []struct{ patch, want string }{
		{patch: `{"firstUsedAt": "2026-01-02T10:00:00Z", "lastUsedAt": "2026-01-02T11:00:00Z", "resolution": "10m0s"}`},
		{patch: `{"firstUsedAt": "2026-01-02T09:00:00Z", "lastUsedAt": "2026-01-02T12:00:00Z", "resolution": "1m0s"}`},
		{`{"firstUsedAt": "2026-01-02T09:00:01Z"}`, `status.firstUsedAt: Forbidden: firstUsedAt never moves later and is never removed`},
		{`{"firstUsedAt": null}`, `status.firstUsedAt: Forbidden: firstUsedAt never moves later and is never removed`},
		{`{"lastUsedAt": "2026-01-02T11:59:59Z"}`, `status.lastUsedAt: Forbidden: lastUsedAt never moves earlier and is never removed`},
		{`{"lastUsedAt": null}`, `status.lastUsedAt: Forbidden: lastUsedAt never moves earlier and is never removed`},
		{`{"lastUsedAt": "2026-01-02T13:00:00.5Z"}`, `status.lastUsedAt: Invalid value: "2026-01-02T13:00:00.5Z": lastUsedAt in body should match ` + timePattern},
		{`{"lastUsedAt": "9999-01-02T13:00:00Z"}`, `status.lastUsedAt: Invalid value: "9999-01-02T13:00:00Z": lastUsedAt must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z`},
		{`{"resolution": "1d"}`, `status.resolution: Invalid value: "1d": resolution must be a duration of 0s or more (and at most 876000h) in h, m and s, such as 10m`},
	} {
		err := admin.Status().Patch(t.Context(), record.DeepCopy(), mergePatch(`{"status": `+test.patch+`}`))
		switch {
		case err == nil && test.want != "":
			t.Errorf("%s: accepted", test.patch)
		case err != nil && (test.want == "" || err.Error() != badRecord+test.want):
			t.Errorf("%s: answer\n%s\nwant\n%s", test.patch, err, badRecord+test.want)
		}
	}
}
