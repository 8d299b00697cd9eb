// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"
)

func TestBadEnvironmentsAreRefusedWithAReason(t *testing.T) {
	refuse(t, goodEnvironment, true, badEnvironments)
}

func TestTheStatusOfAnEnvironmentIsTheOperators(t *testing.T) {
	refuse(t, goodEnvironment, false, []refusal{
		{name: "status", user: namespaceAdmin, status: true, patch: `{"status": {"keys": 7}}`,
			want: `dgbotenvironments.keys.dgbot.io "crm-test" is forbidden: User "alice" cannot patch resource "dgbotenvironments/status" in API group "keys.dgbot.io" at the cluster scope`},
		{name: "rules by a namespace admin", user: namespaceAdmin, patch: `{"spec": {"oneKeyPerChatbot": false}}`,
			want: `dgbotenvironments.keys.dgbot.io "crm-test" is forbidden: User "alice" cannot patch resource "dgbotenvironments" in API group "keys.dgbot.io" at the cluster scope`},
	})
}

const goodEnvironment = `{
  "apiVersion": "keys.dgbot.io/v1alpha1", "kind": "DGbotEnvironment", "metadata": {"name": "crm-test"},
  "spec": {
    "namespaceSelector": {"matchLabels": {"team": "crm"}}, "allowedScopes": ["conversations.*", "reports.read"],
    "rotation": {
      "defaultInterval": "720h", "minInterval": "24h", "maxInterval": "2160h", "defaultOverlap": "24h", "maxOverlap": "72h",
      "windows": [{"days": ["Tuesday", "Thursday"], "start": "02:00", "end": "05:30", "timeZone": "Europe/Berlin"}, {"start": "22:00", "end": "24:00"}]
    },
    "maxLifetime": "8760h", "maxKeysPerNamespace": 5, "oneKeyPerChatbot": true,
    "audit": {
      "unusedAfter": "2160h", "disableAfter": "2880h", "revokeAfter": "4320h",
      "exemptions": [{"namespace": "crm", "name": "year-end-report", "reason": "Runs in January", "until": "2027-02-01T00:00:00Z"}]
    }
  }
}`

const badEnvironment = `DGbotEnvironment.keys.dgbot.io "crm-test" is invalid: `

func window(text string) string {
	return `{"spec": {"rotation": {"windows": [` + text + `]}}}`
}

func exemption(text string) string {
	return `{"spec": {"audit": {"exemptions": [` + text + `]}}}`
}

var badEnvironments = []refusal{
	{name: "a name with a dot", patch: `{"metadata": {"name": "crm.test"}}`,
		want: `DGbotEnvironment.keys.dgbot.io "crm.test" is invalid: <nil>: Invalid value: metadata.name is the environment and must be 1-32 lower-case letters, digits or inner hyphens and begin with a letter, such as production`},
	{name: "the least above the most", patch: `{"spec": {"rotation": {"minInterval": "2161h", "defaultInterval": null}}}`,
		want: badEnvironment + `spec.rotation.minInterval: Invalid value: minInterval must not be more than maxInterval: no key could keep to both`},
	{name: "a default below the least", patch: `{"spec": {"rotation": {"defaultInterval": "23h", "defaultOverlap": "1h"}}}`,
		want: badEnvironment + `spec.rotation.defaultInterval: Invalid value: defaultInterval must be at least minInterval`},
	{name: "a default above the most", patch: `{"spec": {"rotation": {"defaultInterval": "2161h"}}}`,
		want: badEnvironment + `spec.rotation.defaultInterval: Invalid value: defaultInterval must be at most maxInterval`},
	{name: "a default overlap above the most", patch: `{"spec": {"rotation": {"defaultOverlap": "73h"}}}`,
		want: badEnvironment + `spec.rotation.defaultOverlap: Invalid value: defaultOverlap must be at most maxOverlap`},
	{name: "a default overlap as long as the interval", patch: `{"spec": {"rotation": {"defaultInterval": "24h"}}}`,
		want: badEnvironment + `spec.rotation.defaultOverlap: Invalid value: defaultOverlap must be less than defaultInterval: otherwise more and more revisions verify at once`},
	{name: "days as a unit", patch: `{"spec": {"rotation": {"maxInterval": "90d"}}}`,
		want: badEnvironment + `spec.rotation.maxInterval: Invalid value: "90d": maxInterval must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 2160h (days are not a unit: 2160h is 90 days)`},
	{name: "a lifetime of seconds", patch: `{"spec": {"maxLifetime": "30s", "rotation": {"minInterval": null}}}`,
		want: badEnvironment + `spec.maxLifetime: Invalid value: "30s": maxLifetime must be a duration of at least 1m (and at most 876000h) in h, m and s, such as 8760h (days are not a unit: 8760h is 365 days)`},
	{name: "a default overlap that no interval allows", patch: `{"spec": {"rotation": {"defaultInterval": null, "maxInterval": "24h"}}}`,
		want: badEnvironment + `spec.rotation.defaultOverlap: Invalid value: defaultOverlap must be less than maxInterval: otherwise more and more revisions verify at once`},
	{name: "a life shorter than an interval", patch: `{"spec": {"maxLifetime": "23h"}}`,
		want: badEnvironment + `spec.rotation.minInterval: Invalid value: minInterval must not be more than maxLifetime: no key that keeps to both could be rotated`},
	{name: "a selector with an operator that there is not", patch: `{"spec": {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Is", "values": ["crm"]}]}}}`,
		want: badEnvironment + `spec.namespaceSelector.matchExpressions: Invalid value: each of matchExpressions needs the operator In or NotIn, with values, or Exists or DoesNotExist, without`},
	{name: "a selector without values", patch: `{"spec": {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In"}]}}}`,
		want: badEnvironment + `spec.namespaceSelector.matchExpressions: Invalid value: each of matchExpressions needs the operator In or NotIn, with values, or Exists or DoesNotExist, without`},
	{name: "an audit without a warning", patch: `{"spec": {"audit": {"unusedAfter": null}}}`,
		want: `DGbotEnvironment.keys.dgbot.io "crm-test" is invalid: [spec.audit.unusedAfter: Required value` + notChecked},
	{name: "an audit that disables before it warns", patch: `{"spec": {"audit": {"unusedAfter": "2880h"}}}`,
		want: badEnvironment + `spec.audit.disableAfter: Invalid value: disableAfter must be more than unusedAfter: a key is warned of before it is disabled`},
	{name: "an audit that revokes before it disables", patch: `{"spec": {"audit": {"revokeAfter": "2880h"}}}`,
		want: badEnvironment + `spec.audit.revokeAfter: Invalid value: revokeAfter must be more than disableAfter: a key is disabled, which can be taken back, before it is revoked`},
	{name: "an audit that revokes and does not disable", patch: `{"spec": {"audit": {"disableAfter": null}}}`,
		want: badEnvironment + `spec.audit.revokeAfter: Invalid value: revokeAfter needs disableAfter: a key is disabled, which can be taken back, before it is revoked`},
	{name: "an audit in days", patch: `{"spec": {"audit": {"unusedAfter": "90d"}}}`,
		want: badEnvironment + `spec.audit.unusedAfter: Invalid value: "90d": unusedAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 2160h (days are not a unit: 2160h is 90 days)`},
	{name: "an audit at once", patch: `{"spec": {"audit": {"unusedAfter": "0s"}}}`,
		want: badEnvironment + `spec.audit.unusedAfter: Invalid value: "0s": unusedAfter must be a duration of at least 1s (and at most 876000h) in h, m and s, such as 2160h (days are not a unit: 2160h is 90 days)`},
	{name: "an exemption without an end", patch: exemption(`{"namespace": "crm", "name": "report", "reason": "Rarely used"}`),
		want: `DGbotEnvironment.keys.dgbot.io "crm-test" is invalid: [spec.audit.exemptions[0].until: Required value` + notChecked},
	{name: "an exemption until some day", patch: exemption(`{"namespace": "crm", "name": "report", "reason": "Rarely used", "until": "2027-02-01"}`),
		want: badEnvironment + `spec.audit.exemptions[0].until: Invalid value: "2027-02-01": until must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z`},
	{name: "an exemption without a reason", patch: exemption(`{"namespace": "crm", "name": "report", "reason": " ", "until": "2027-02-01T00:00:00Z"}`),
		want: badEnvironment + `spec.audit.exemptions[0].reason: Invalid value: " ": reason must say why the key is exempt, such as Used by the yearly report`},
	{name: "an exemption with a hidden reason", patch: exemption("{\"namespace\": \"crm\", \"name\": \"report\", \"reason\": \"Rarely\u200f used\", \"until\": \"2027-02-01T00:00:00Z\"}"),
		want: badEnvironment + `spec.audit.exemptions[0].reason: Invalid value: "Rarely\u200f used": reason must be one line without control characters, those that are invisible or change the direction of text included`},
	{name: "an exemption of no key", patch: exemption(`{"namespace": "crm", "reason": "Rarely used", "until": "2027-02-01T00:00:00Z"}`),
		want: `DGbotEnvironment.keys.dgbot.io "crm-test" is invalid: [spec.audit.exemptions[0].name: Required value` + notChecked},
	{name: "an allowed scope twice", patch: `{"spec": {"allowedScopes": ["a", "b.*", "a"]}}`,
		want: badEnvironment + `spec.allowedScopes: Invalid value: allowedScopes must not name a scope twice: remove the repeated entry`},
	{name: "an allowed scope with an empty segment", patch: `{"spec": {"allowedScopes": ["a", "b..*"]}}`,
		want: badEnvironment + `spec.allowedScopes[1]: Invalid value: "b..*": ` + emptySegment},
	{name: "a day twice", patch: window(`{"start": "01:00", "end": "02:00", "days": ["Monday", "Friday", "Monday"]}`),
		want: badEnvironment + `spec.rotation.windows[0].days: Invalid value: days must not name a day twice: remove the repeated entry`},
	{name: "no key at all", patch: `{"spec": {"maxKeysPerNamespace": 0}}`,
		want: `DGbotEnvironment.keys.dgbot.io "crm-test" is invalid: spec.maxKeysPerNamespace: Invalid value: 0: spec.maxKeysPerNamespace in body should be greater than or equal to 1`},
	{name: "an impossible scope", patch: `{"spec": {"allowedScopes": ["A"]}}`,
		want: badEnvironment + `spec.allowedScopes[0]: Invalid value: "A": a scope consists of a-z, 0-9 and . _ : - (such as conversations.read); * stands alone or as the last segment (conversations.*)`},
	{name: "an inverted window", patch: window(`{"start": "22:00", "end": "04:00"}`),
		want: badEnvironment + `spec.rotation.windows[0].end: Invalid value: end must be after start: a window that goes on after midnight is written as two, the first up to 24:00`},
	{name: "an empty window", patch: window(`{"start": "22:00", "end": "22:00"}`),
		want: badEnvironment + `spec.rotation.windows[0].end: Invalid value: end must be after start: a window that goes on after midnight is written as two, the first up to 24:00`},
	{name: "a window on no day", patch: window(`{"start": "01:00", "end": "02:00", "days": []}`),
		want: badEnvironment + `spec.rotation.windows[0].days: Invalid value: 0: spec.rotation.windows[0].days in body should have at least 1 items`},
	{name: "an unknown day", patch: window(`{"start": "01:00", "end": "02:00", "days": ["Mon"]}`),
		want: `DGbotEnvironment.keys.dgbot.io "crm-test" is invalid: [spec.rotation.windows[0].days[0]: Unsupported value: "Mon": supported values: "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"` + notChecked},
	{name: "a time with seconds", patch: window(`{"start": "01:00:00", "end": "23:00"}`),
		want: badEnvironment + `spec.rotation.windows[0].start: Invalid value: "01:00:00": start must be a time of day as HH:MM, from 00:00 to 23:59, such as 02:00`},
	{name: "an exemption until a time with fractions", patch: exemption(`{"namespace": "crm", "name": "report", "reason": "Rarely used", "until": "2027-02-01T00:00:00.000Z"}`),
		want: badEnvironment + `spec.audit.exemptions[0].until: Invalid value: "2027-02-01T00:00:00.000Z": until must be a time in RFC 3339 with whole seconds, in the years 1970 to 8999, such as 2027-11-23T00:00:00Z`},
	{name: "a time that is none", patch: window(`{"start": "1:00", "end": "23:00"}`),
		want: badEnvironment + `spec.rotation.windows[0].start: Invalid value: "1:00": start must be a time of day as HH:MM, from 00:00 to 23:59, such as 02:00`},
	{name: "an end that is none", patch: window(`{"start": "01:00", "end": "25:00"}`),
		want: badEnvironment + `spec.rotation.windows[0].end: Invalid value: "25:00": end must be a time of day as HH:MM, up to 24:00, such as 05:30`},
	{name: "the machine's own time zone", patch: window(`{"start": "01:00", "end": "02:00", "timeZone": "Local"}`),
		want: badEnvironment + `spec.rotation.windows[0].timeZone: Invalid value: "Local": timeZone must be a name of the IANA time zone database, such as UTC or Europe/Berlin`},
	{name: "a path as a time zone", patch: window(`{"start": "01:00", "end": "02:00", "timeZone": "../../etc/passwd"}`),
		want: badEnvironment + `spec.rotation.windows[0].timeZone: Invalid value: "../../etc/passwd": timeZone must be a name of the IANA time zone database, such as UTC or Europe/Berlin`},
}

// TestTimeZonesAreKnown: which ones there are, the API server knows.
func TestTimeZonesAreKnown(t *testing.T) {
	err := admin.Create(t.Context(), object(goodEnvironment, window(`{"start": "01:00", "end": "02:00", "timeZone": "Europe/Berlim"}`)))
	if err == nil || !strings.Contains(err.Error(), "Europe/Berlim") || !strings.Contains(err.Error(), "timeZone must be a name of the IANA time zone database") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "Asia/Kolkata"} {
		create(t, goodEnvironment, window(`{"start": "01:00", "end": "02:00", "timeZone": "`+name+`"}`), `{"metadata": {"name": "zone"}}`)
		if err := admin.Delete(t.Context(), object(goodEnvironment, `{"metadata": {"name": "zone"}}`)); err != nil {
			t.Error(err)
		}
	}
}
