// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// RulesUnknown reports whether the rules of the environment could not be read. Without them neither the overlap nor the audit
// of a key is known.
func (k *Known) RulesUnknown() bool {
	return k.Failed.Any(report.ReadEnvironment) && k.Environment.Rules == nil
}

// AuditUnknown reports whether the audit could not read what it decides on: the rules, the tracking, and the last uses in the
// records.
func (k *Known) AuditUnknown() bool {
	return k.RulesUnknown() || k.Failed.Any(report.ReadTracking, report.ReadRecords)
}

// OverlapUnknown reports whether the ends of superseded revisions cannot be computed: a default overlap may be in the rules,
// and a record that the cache lacks may be the one that was published last.
func (k *Known) OverlapUnknown() bool {
	return k.RulesUnknown() || k.Failed.Any(report.ReadRecords)
}
