// SPDX-License-Identifier: Apache-2.0

// Package lookup finds the DGbotAPIKey and revision that a key text belongs to, by the records of a cluster.
package lookup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// Timeout bounds the wait for a cluster or a verifier that only adds to an answer.
const Timeout = 10 * time.Second

// selectableKeyID is the field of records by which a key is found.
const selectableKeyID = "spec.keyID"

// Holder describes the DGbotAPIKey and revision of a key text, by the records of a cluster.
type Holder struct {
	Valid bool `json:"valid"`
	// Verdict is why it does not verify: Revoked, Disabled, Ended or Orphaned; Admitted where it does.
	Verdict   standing.Verdict `json:"verdict"`
	Namespace string           `json:"namespace"`
	Name      string           `json:"name"`
	Label     string           `json:"label"`
	Revision  int64            `json:"revision"`
	ChatbotID string           `json:"chatbotID,omitempty"`
	Scopes    []v1alpha1.Scope `json:"scopes"`
	IssuedAt  metav1.Time      `json:"issuedAt"`
	NotAfter  *metav1.Time     `json:"notAfter,omitempty"`
	LastUsed  *metav1.Time     `json:"lastUsedAt,omitempty"`
	// SupersededBy is the revision that was published after it; 0 where none was.
	SupersededBy int64 `json:"supersededBy,omitempty"`

	record *v1alpha1.DGbotAPIKeyRecord
}

// Finder looks key texts up in the records that the user may list.
type Finder struct {
	cluster *cluster.Client
	// Now is the API server's time when the finder was made.
	Now time.Time
	// namespace is where to look once it is clear that not everywhere may be looked; empty before that.
	namespace string
}

// NewFinder returns a finder for a cluster. It asks the API server for its time.
func NewFinder(ctx context.Context, c *cluster.Client) (*Finder, error) {
	now, err := c.Now(ctx)
	return &Finder{cluster: c, Now: now}, err
}

// Where names the part of the cluster that find looks at.
func (f *Finder) Where() string {
	if f.namespace == "" {
		return "in this cluster"
	}
	return fmt.Sprintf("in namespace %q, which is all you may look at", f.namespace)
}

// Find returns the holder of a key text; nil if no record has its hash.
func (f *Finder) Find(ctx context.Context, key apikey.Key) (*Holder, error) {
	records, err := f.cluster.Records(ctx, f.namespace, selectableKeyID, key.ID())
	if apierrors.IsForbidden(err) && f.namespace == "" {
		f.namespace = f.cluster.Namespace
		records, err = f.cluster.Records(ctx, f.namespace, selectableKeyID, key.ID())
	}
	if err != nil || len(records) == 0 {
		return nil, err
	}
	// As verifiers do: of several records with one ID only the first counts.
	first := slices.MinFunc(records, func(a, b v1alpha1.DGbotAPIKeyRecord) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	if first.Spec.Hash != key.Hash() {
		return nil, nil
	}
	return holderOf(&first, f.Now), nil
}

func holderOf(record *v1alpha1.DGbotAPIKeyRecord, now time.Time) *Holder {
	verdict := standing.Admit(record, now)
	h := &Holder{
		Valid: verdict == standing.Admitted, Verdict: verdict, Namespace: record.Namespace, Name: record.Spec.APIKeyRef.Name,
		Label: record.Spec.Label, Revision: record.Spec.Revision, ChatbotID: record.Spec.ChatbotID, Scopes: record.Spec.Scopes,
		IssuedAt: record.Spec.IssuedAt, NotAfter: record.Spec.NotAfter, LastUsed: record.Status.LastUsedAt,
		SupersededBy: revisions.SupersededBy(record), record: record,
	}
	if h.Scopes == nil {
		h.Scopes = []v1alpha1.Scope{}
	}
	return h
}

// IsOf reports whether the record of the holder belongs to this very key, and not to an earlier one of the same name.
func (h *Holder) IsOf(key *v1alpha1.DGbotAPIKey) bool { return key.UID == h.record.Spec.APIKeyRef.UID }

// Sentence describes the holder and whether the key verifies.
func (h *Holder) Sentence(now time.Time) string {
	text := fmt.Sprintf("revision %d of DGbotAPIKey %s/%s (%s), issued %s", h.Revision, h.Namespace, h.Name, h.Label, display.TimeText(&h.IssuedAt, now))
	if h.LastUsed != nil {
		text += ", last used " + display.TimeText(h.LastUsed, now)
	}
	switch {
	case h.Verdict == standing.Disabled:
		return "not valid while it is disabled: " + text
	case h.Verdict == standing.UnknownState:
		return fmt.Sprintf("not valid (its record has the state %q, which this version does not know): %s", h.record.Spec.State, text)
	case !h.Valid:
		return fmt.Sprintf("not valid any more (%s): %s", h.Verdict, text)
	case h.SupersededBy > 0:
		text += fmt.Sprintf("; revision %d has been published since", h.SupersededBy)
	}
	if h.NotAfter != nil {
		return fmt.Sprintf("valid until %s: %s", h.NotAfter.UTC().Format(time.RFC3339), text)
	}
	return "valid: " + text
}
