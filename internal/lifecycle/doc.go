// SPDX-License-Identifier: Apache-2.0

// Package lifecycle decides what happens to API keys. With the packages below it, it is the policy: none of them does I/O, uses a clock or is
// random.
//
// Plan takes everything observed (the DGbotAPIKey, its records, what its Secret holds) and the time. It returns the next steps, the
// status that describes the observation, and when to plan again. It is deterministic and total. Nothing in it depends on having seen a
// change happen, so neither a restart, nor a second instance, nor a lost status makes it issue a revision. The caller applies the steps in
// order; after an IssueRevision that succeeded it plans again, until a plan has no steps.
//
// # The way of a plan
//
//	observation.go, owner.go   observation → facts in terms that API keys and HMAC secrets share
//	facts                      facts, and what follows from them alone, by two packages of their own:
//	  effective                what the spec asks for → what the rules of the environment let it have
//	  revisions                which revision the Secret holds, which is published, which number is free
//	due                        why a revision is due (causes.go)
//	audit                      what the audit of the environment makes of a key that is not used
//	gates                      what keeps the revision from being issued, or the owner from being Ready (gates.go)
//	changes                    what changes about the revisions that are there (amend.go), and in what order (changes.go)
//	plan.go, status.go         conclusions → steps and status
//
// Each stage is a type that is made from the stages above it, and finished then. So a cause cannot depend on an obstacle, because the type that
// it is asked about has none. The stages share one thing that changes: the horizon, which collects when to plan again.
//
// The conclusions draw on packages of one subject each: schedule, requests and tracking. Package instant has the clock of a plan, which finds
// when to plan again: at the next instant that any rule asked about. Package standing is what verifiers go by, steps what a plan consists
// of, and report what users read. Package status has what the two kinds report alike.
//
// Package chatbots plans in the same way for a DGbotChatbot and its HMAC secret, and package environments describes a DGbotEnvironment.
//
// # A revision
//
//	          published                  newer one published                 notAfter reached
//	created ────────────▶ current ───────────────────────────▶ superseded ───────────────────▶ expired ──▶ deleted
//	   │                     │                                     │  (notAfter = newer.issuedAt + overlap)
//	   │ not published       │ revokeIssuedBefore, state: Revoked, deletion
//	   ▼                     ▼                                     ▼
//	expires after overlap  Revoked, for good ◀─────────────────────┘
//
// With retire: WhenUnused a superseded revision has maxOverlap in place of overlap. It expires earlier once verifiers have reported for
// long enough that it is not used (changes/retire.go).
//
// Which revision is current is never stored: it is the one whose hash the Secret's bytes match.
//
// # A crash between two writes
//
//	crash after            what is found                                       what happens
//	the record is created  a record whose key no client holds; the Secret      the cause still stands: the next revision is issued,
//	                       still holds the previous revision, which verifies   and the record expires with the overlap
//	the Secret is written  the Secret holds the new revision; the previous     the previous one gets its notAfter
//	                       one has no notAfter
//	the records are        everything is done, and the status is old           the status is written, and the events come once more
//	amended
//
// # The order of rules
//
// Causes and gates are asked in the order of their lists, and the first one counts. A key as a whole, by the gate that is closed:
//
//	(deleted)           every record is revoked, and nothing else happens
//	rejectedRecordGate  the API server rejects a record's write     Ready False, Stalled
//	failedReadGate      part of the observation is unknown          Ready False, Stalled
//	auditGate           unused: disabled or revoked as below        Ready False, Stalled
//	stateGate           Revoked: every record is revoked            Ready False, Stalled
//	                    Disabled: every record is disabled, and requests wait
//	                    expired: nothing is issued
//	rejectedWriteGate   the API server rejects the Secret's write   Ready False, Stalled
//	environmentGate     first issue: no DGbotEnvironment            Ready False, Reconciling for a minute, then Stalled
//	                    first issue: a rule is broken               Ready False, Stalled
//	chatbotGate         first issue: the chatbot has no ID          Ready False, Reconciling
//
// And where a revision is due:
//
//	secretGate          another object has the Secret's name        Ready False, Stalled; Reconciling while it is being collected
//	attemptsGate        several attempts failed in a row            Ready as it is, Reconciling; Stalled once the API server rejects
//	dampingGate         too many losses within the hour             Ready False, Reconciling
//	overlapGate         10 previous revisions are valid             Ready True, Reconciling
//	(open)              issue, publish, supersede                   Ready as it is, Reconciling
//
// A failed read (facts/unknown.go, changes/permitted.go) keeps a plan from issuing, repairing and deleting. What only takes away still happens: the steps for
// Revoked, Disabled, expiry and revokeIssuedBefore depend on the key and its records alone.
package lifecycle
