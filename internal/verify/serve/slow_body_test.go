// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// slowBody is a body whose end comes after something has happened.
type slowBody struct {
	content string
	before  func()
}

func (s *slowBody) Read(into []byte) (int, error) {
	if s.before != nil {
		s.before()
		s.before = nil
	}
	n := copy(into, s.content)
	if s.content = s.content[n:]; s.content == "" {
		return n, io.EOF
	}
	return n, nil
}

// TestVerify_JudgesWhatIsReadCompletely: the key was accepted when the body began, and is rejected when it has ended.
func TestVerify_JudgesWhatIsReadCompletely(t *testing.T) {
	for name, tc := range map[string]struct {
		body   string
		happen func(b *bench, record *v1alpha1.DGbotAPIKeyRecord)
		want   int
	}{
		"nothing": {`{"scopes":["a.b"]}`, func(*bench, *v1alpha1.DGbotAPIKeyRecord) {}, 200},
		"revoked": {`{"scopes":["a.b"]}`, func(b *bench, record *v1alpha1.DGbotAPIKeyRecord) {
			record.Spec.State = v1alpha1.StateRevoked
			_ = b.keys.Put(record, 0, 1)
		}, 401},
		"revoked, without scopes": {``, func(b *bench, record *v1alpha1.DGbotAPIKeyRecord) {
			record.Spec.State = v1alpha1.StateRevoked
			_ = b.keys.Put(record, 0, 1)
		}, 401},
		"revoked, with a malformed body": {`{`, func(b *bench, record *v1alpha1.DGbotAPIKeyRecord) {
			record.Spec.State = v1alpha1.StateRevoked
			_ = b.keys.Put(record, 0, 1)
		}, 401},
		"deleted": {`{}`, func(b *bench, record *v1alpha1.DGbotAPIKeyRecord) { b.keys.Remove(record) }, 401},
		"fewer scopes": {`{"scopes":["a.b"]}`, func(b *bench, record *v1alpha1.DGbotAPIKeyRecord) {
			record.Spec.Scopes = nil
			_ = b.keys.Put(record, 0, 1)
		}, 403},
		"the verifier ages": {`{}`, func(b *bench, _ *v1alpha1.DGbotAPIKeyRecord) { b.clock.Pass(maxStaleness + time.Second) }, 503},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			key, err := apikey.Parse(b.key)
			if err != nil {
				t.Fatal(err)
			}
			request := httptest.NewRequest(http.MethodPost, "/v1/verify", &slowBody{tc.body, func() { tc.happen(b, verifytest.Record(key)) }})
			request.ContentLength = -1
			request.Header.Set(keyHeader, b.key)
			answer := httptest.NewRecorder()
			b.Handler().ServeHTTP(answer, request)
			if answer.Code != tc.want {
				t.Errorf("%d %s, want %d", answer.Code, answer.Body, tc.want)
			}
		})
	}
}

func TestIdentity_JudgesWhatIsReadCompletely(t *testing.T) {
	for name, tc := range map[string]struct {
		pass time.Duration
		want int
	}{"at once": {0, 200}, "the secret expires": {time.Hour, 401}, "the verifier ages": {maxStaleness + time.Second, 503}} {
		t.Run(name, func(t *testing.T) {
			b := newIdentityBench(t, verifytest.Replica("cb_1", nil))
			body := &slowBody{tokenBody(sign(t, verifytest.PreviousSecret, "cb_1", nil)), func() {
				b.clock.Pass(tc.pass)
				if tc.want != 503 {
					b.identityFreshness.hear()
				}
			}}
			answer := httptest.NewRecorder()
			b.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/v1/identity/verify", body))
			if answer.Code != tc.want {
				t.Errorf("%d %s, want %d", answer.Code, answer.Body, tc.want)
			}
		})
	}
}
