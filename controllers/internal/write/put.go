// SPDX-License-Identifier: Apache-2.0

package write

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

// Put creates an object that has no resourceVersion, and updates one that has, on condition that the API server still has that version. It
// never falls back from one to the other, because the plan was not made for that object. With dryRun it writes nothing, and reports
// whether the API server would accept the write. The object becomes the API server's answer; see Altered.
//
// The renewal of a usage Lease (internal/verify/usage) does not use Put. After a conflict there, the verifier leaves the Lease to the
// other writer, since any verifier's renewal serves all of them.
func Put(ctx context.Context, writer client.Writer, object client.Object, dryRun ...string) error {
	if object.GetResourceVersion() == "" {
		return writer.Create(ctx, object, &client.CreateOptions{DryRun: dryRun})
	}
	return writer.Update(ctx, object, &client.UpdateOptions{DryRun: dryRun})
}

// ReadExisting reads the object whose existence made the API server reject a creation, with that answer. If the object is gone again, the answer
// is a conflict.
func ReadExisting(ctx context.Context, reader client.Reader, object client.Object, answer error, reason string) error {
	found, err := read.Get(ctx, reader, client.ObjectKeyFromObject(object), object)
	if err == nil && !found {
		return Classify(answer, reason)
	}
	return err
}

// Altered returns the rejection of a write that changed a part of an object in another way than the operator asked for. The API server
// answers a write with what it stored, so the caller compares. It is a rejection although the write happened, because the next write would
// be altered too.
func Altered(reason, object, part string) *RejectedError {
	return &RejectedError{Rejection: report.Rejection{
		Reason:  reason,
		Message: object + " differs from what the operator wrote: a mutating webhook or policy has changed " + part + "; exempt the object from the webhook or policy",
	}}
}

// Count counts a rejection that the operator found itself, and returns it. Rejections that are reported again without a write are not counted.
func Count(rejected *RejectedError) error {
	Rejections.WithLabelValues(rejected.Rejection.Reason).Inc()
	return rejected
}
