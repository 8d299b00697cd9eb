// SPDX-License-Identifier: Apache-2.0

package requests

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/instant"
)

var now = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func in(hours int) *metav1.Time { return &metav1.Time{Time: now.Add(time.Duration(hours) * time.Hour)} }

// TestRead_TakesTheLatestThatIsDue of field and annotation. One in the future holds back none that is due.
func TestRead_TakesTheLatestThatIsDue(t *testing.T) {
	for name, tc := range map[string]struct {
		field, annotation, due, next *metav1.Time
		pending                      int
	}{
		"none":                       {nil, nil, nil, nil, 0},
		"the field":                  {in(-1), nil, in(-1), nil, 0},
		"the annotation":             {nil, in(-1), in(-1), nil, 0},
		"both due":                   {in(-1), in(-2), in(-1), nil, 0},
		"now":                        {in(0), nil, in(0), nil, 0},
		"the field to come":          {in(1), in(-2), in(-2), in(1), 1},
		"both to come, the earliest": {in(2), in(1), nil, in(1), 2},
	} {
		annotations := map[string]string{}
		if tc.annotation != nil {
			annotations[v1alpha1.RevokeIssuedBeforeAnnotation] = instant.Format(tc.annotation)
		}
		h := &instant.Horizon{Now: now}
		got := Read(annotations, &v1alpha1.Rotation{RevokeIssuedBefore: tc.field}, h)
		if !got.Revoke.Due.Equal(tc.due) || !got.Revoke.Next.Equal(tc.next) || len(got.Pending) != tc.pending || got.Invalid != "" {
			t.Errorf("%s: %+v", name, got)
		}
		if tc.next != nil && !h.Next.Equal(tc.next.Time) {
			t.Errorf("%s: planned again at %s", name, h.Next)
		}
	}
}

// TestRead_NamesWhatItCannotRead and takes the rest.
func TestRead_NamesWhatItCannotRead(t *testing.T) {
	got := Read(map[string]string{v1alpha1.RotateRequestedAtAnnotation: "today", v1alpha1.RevokeIssuedBeforeAnnotation: "", v1alpha1.KeptAtAnnotation: instant.Format(in(-1))},
		&v1alpha1.Rotation{RequestedAt: in(-3)}, &instant.Horizon{Now: now})
	for _, name := range []string{v1alpha1.RotateRequestedAtAnnotation, v1alpha1.RevokeIssuedBeforeAnnotation} {
		if !strings.Contains(got.Invalid, name) {
			t.Errorf("%q does not name %s", got.Invalid, name)
		}
	}
	if strings.Contains(got.Invalid, v1alpha1.KeptAtAnnotation) || !got.Kept.Due.Equal(in(-1)) || !got.Rotate.Due.Equal(in(-3)) {
		t.Errorf("%+v", got)
	}
}

// TestPendingOf_NamesRevocationsFirst, with what makes each request.
func TestPendingOf_NamesRevocationsFirst(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		v1alpha1.RotateRequestedAtAnnotation: instant.Format(in(1)), v1alpha1.RevokeIssuedBeforeAnnotation: instant.Format(in(2)),
	}}}
	if got := PendingOf(key, now); len(got) != 2 || got[0].Kind != Revocation || got[1].Kind != Rotation || got[0].Source() != "annotation "+v1alpha1.RevokeIssuedBeforeAnnotation {
		t.Errorf("%+v", got)
	}
	key.Annotations, key.Spec.Rotation = nil, &v1alpha1.Rotation{RequestedAt: in(1)}
	if got := PendingOf(key, now); len(got) != 1 || got[0].Source() != "spec.rotation.requestedAt" {
		t.Errorf("%+v", got)
	}
}

// TestRequest_Covers what was issued up to its time, the same second included.
func TestRequest_Covers(t *testing.T) {
	request := Request{Due: in(0), Next: in(1)}
	if !request.Covers(*in(-1)) || !request.Covers(*in(0)) || request.Covers(metav1.Time{Time: now.Add(time.Second)}) {
		t.Error("a request for now covers what was issued before and in this second, and nothing later")
	}
	if (Request{Next: in(1)}).Covers(*in(-1)) {
		t.Error("a request in the future covers something")
	}
}
