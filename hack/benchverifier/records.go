// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/hack/figures"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/steps"
)

// createdAtOnce keeps the API server busy.
const createdAtOnce = 16

// asked is how many keys are asked for, in turns.
const asked = 1_000

// recordOf is the record of a new key as the operator writes it, and the key's text.
func recordOf(i int) (*v1alpha1.DGbotAPIKeyRecord, string, error) {
	text, err := apikey.Mint("staging")
	if err != nil {
		return nil, "", err
	}
	name := fmt.Sprintf("service-%07d", i)
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(fmt.Sprintf("%08x-2610-41ab-a832-%012x", i, i))},
		Spec: v1alpha1.DGbotAPIKeySpec{
			Label: fmt.Sprintf("Service %07d", i), Environment: "staging", Scopes: []v1alpha1.Scope{"conversations.read", "conversations.write"},
		},
	}
	record := steps.NewRecord(key, steps.IssueRevision{Scopes: key.Spec.Scopes,
		Revision: 1, RecordName: revisions.RecordName(name, key.UID, 1), Cause: v1alpha1.CauseFirstIssue, IssuedAt: metav1.Now(),
	}, text.ID(), text.Hash())
	record.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyRecordKind}
	return &record, strings.Clone(text.Reveal()), nil
}

// fill creates the records in the API server, and keeps the texts of some.
func (w *measurement) fill(ctx context.Context) error {
	texts := make([]string, w.records)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(createdAtOnce)
	for i := range w.records {
		if i%(max(w.records/10, 1)) == 0 {
			figures.Progress("creating records: %d of %d", i, w.records)
		}
		group.Go(func() error {
			record, text, err := recordOf(i)
			if err != nil {
				return err
			}
			texts[i] = text
			return w.Admin.Create(ctx, record)
		})
		if ctx.Err() != nil {
			break
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for chunk := range slices.Chunk(texts, max(len(texts)/asked, 1)) {
		w.texts = append(w.texts, chunk[0])
	}
	return nil
}
