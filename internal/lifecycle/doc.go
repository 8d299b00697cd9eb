// SPDX-License-Identifier: Apache-2.0

// Package lifecycle decides what happens to an API key: it is the policy, without any I/O, clock or randomness.
//
// Plan looks at everything observed (the DGbotAPIKey, its records, what its Secret holds) and the time, and returns the
// next steps, the status that describes the observation, and when to look again. It is deterministic, total and a
// function of levels: nothing in it depends on having seen a change happen, so a restart, a second operator or a lost
// status cannot mint. Steps are carried out one after the other; after an IssueRevision that succeeded the caller plans
// again from what came of it, until a plan has no steps.
//
// A revision's life, as its record shows it:
//
//	          published                     newer one published                notAfter reached
//	created ────────────▶ current (no end) ────────────────────▶ superseded ───────────────────▶ ended ──▶ deleted
//	   │                      │                                     │  (notAfter = newer.issuedAt + overlap)
//	   │ not published        │ revokeIssuedBefore, state: Revoked, deletion
//	   ▼                      ▼                                     ▼
//	ended after overlap     Revoked, for good ◀─────────────────────┘
//
// With retire: WhenUnused a superseded revision has maxOverlap in place of overlap, and ends earlier once verifiers have
// vouched for long enough that nobody uses it (retire.go).
//
// Which revision is current is never stored: it is the one whose hash the Secret's bytes match.
//
// The key as a whole, by what stands in the way, in the order in which it is asked:
//
//	deleted        every record Revoked, nothing else
//	record refused the API server refuses a record's write    Ready False, Stalled
//	read failed    part of the observation is unknown         Ready False, Stalled
//	audit          unused: Disabled or Revoked as below       Ready False, Stalled
//	Revoked        every record Revoked                       Ready False, Stalled
//	Disabled       every record Disabled, requests wait       Ready False, Stalled
//	Expired        nothing minted                             Ready False, Stalled
//	Secret refused the API server refuses the Secret's write  Ready False, Stalled
//
// A failed read (failed_reads.go) keeps a plan from issuing, repairing and deleting. What only takes away it still does: the
// steps for Revoked, Disabled, expiry and revokeIssuedBefore depend on the key and its records alone.
//
// And, where a revision is due:
//
//	environment    first issue, no DGbotEnvironment           Ready False, Reconciling for a minute, then Stalled
//	rule           first issue, a rule is broken              Ready False, Stalled
//	conflict       the Secret's name is somebody else's       Ready False, Stalled
//	collection     a dead key's Secret holds the name         Ready False, Reconciling
//	attempts       several were not published in a row        Ready as it is, Reconciling; Stalled once refused
//	damped         too many losses within the hour            Ready False, Reconciling
//	overlap        10 earlier revisions still verify          Ready True, Reconciling
//	otherwise      mint, publish, supersede                   Ready as it is, Reconciling
package lifecycle
