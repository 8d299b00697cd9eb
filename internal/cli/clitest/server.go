// SPDX-License-Identifier: Apache-2.0

package clitest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
)

// APIServer starts a server that answers as an API server does, and returns its URL. It has one key, web, which no operator reconciles. A
// request for which isSlow is true gets no answer: the server holds it until the client closes the connection.
func APIServer(t *testing.T, isSlow func(*http.Request) bool) string {
	t.Helper()
	key := Healthy("web")
	key.TypeMeta, key.UID, key.Generation, key.Status.ObservedGeneration = cluster.TypeMeta(v1alpha1.APIKeyKind), "1", 1, 1
	key.Status.Conditions = append(key.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ReconcilingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.WaitingForChatbotReason, Message: "DGbotChatbot bot has no chatbot ID yet",
	})
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		if isSlow(request) {
			// The server notices a closed connection only after it has read the body.
			_, _ = io.Copy(io.Discard, request.Body)
			<-request.Context().Done()
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		var object any = key
		switch {
		case request.URL.Path == "/version":
			object = map[string]string{}
		case strings.HasSuffix(request.URL.Path, "/dgbotapikeys"):
			object = v1alpha1.DGbotAPIKeyList{TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyKind + "List"), Items: []v1alpha1.DGbotAPIKey{*key}}
		case strings.HasSuffix(request.URL.Path, "/dgbotapikeyrecords"):
			object = v1alpha1.DGbotAPIKeyRecordList{TypeMeta: cluster.TypeMeta(v1alpha1.APIKeyRecordKind + "List")}
		}
		_ = json.NewEncoder(answer).Encode(object)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Never reports false for every request.
func Never(*http.Request) bool { return false }
