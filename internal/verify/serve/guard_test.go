// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestMetricsGuard_LetsReadersIn covers that other clients are denied, and that the token of a reader is reviewed once a minute.
func TestMetricsGuard_LetsReadersIn(t *testing.T) {
	client, clock, asked := fake.NewClientset(), verifytest.NewClock(), 0
	client.PrependReactor("create", "tokenreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		review := action.(clienttesting.CreateAction).GetObject().(*authentication.TokenReview).DeepCopy()
		if review.Spec.Token == "broken" {
			return true, nil, errors.New("no answer")
		}
		review.Status.Authenticated = review.Spec.Token == "reader" || review.Spec.Token == "other"
		review.Status.User.Username = review.Spec.Token
		return true, review, nil
	})
	client.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorization.SubjectAccessReview).DeepCopy()
		attributes := review.Spec.NonResourceAttributes
		review.Status.Allowed = review.Spec.User == "reader" && attributes.Path == "/metrics" && attributes.Verb == "get"
		return true, review, nil
	})
	guard := newMetricsGuard(client, clock.Now, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "metrics") }))
	read := func(authorization string) (int, string) {
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		answer := httptest.NewRecorder()
		guard.ServeHTTP(answer, request)
		return answer.Code, answer.Body.String()
	}
	for authorization, want := range map[string]int{
		"": 401, "Bearer ": 401, "Basic reader": 401, "Bearer unknown": 401, "Bearer other": 403, "Bearer broken": 503, "Bearer reader": 200, "bearer reader": 200,
	} {
		if code, text := read(authorization); code != want || (text == "metrics") != (want == 200) {
			t.Errorf("%q: %d, %q, want %d", authorization, code, text, want)
		}
	}
	before := asked
	for range 5 {
		if code, _ := read("Bearer reader"); code != http.StatusOK {
			t.Errorf("a reader: %d", code)
		}
	}
	if asked != before {
		t.Errorf("the API server was asked %d times about a reader it has just accepted", asked-before)
	}
	clock.Pass(readerTime)
	if code, _ := read("Bearer reader"); code != http.StatusOK || asked != before+1 {
		t.Errorf("a minute later: %d, the API server was asked %d times", code, asked-before)
	}
	before = asked
	for i := range 200 {
		read(fmt.Sprintf("Bearer junk-%d", i))
	}
	if asked-before > 4*reviewsPerSecond+reviewsPerSecond {
		t.Errorf("200 bad tokens cost the API server %d reviews", asked-before)
	}
	if code, _ := read("Bearer reader"); code != http.StatusOK {
		t.Errorf("a reader among bad tokens: %d", code)
	}
}
