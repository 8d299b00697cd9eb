// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"encoding/json"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Typed returns a copy of a record with its type and a resource version, as the API server sends it.
func Typed(record *v1alpha1.DGbotAPIKeyRecord, version string) *v1alpha1.DGbotAPIKeyRecord {
	record = record.DeepCopy()
	record.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "DGbotAPIKeyRecord"}
	record.ResourceVersion = version
	return record
}

// Failure returns the body of an answer that rejects a request.
func Failure(code int32, reason metav1.StatusReason) metav1.Status {
	return metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: code, Reason: reason, Message: "no"}
}

// Reject returns a handler that rejects requests.
func Reject(code int32, reason metav1.StatusReason) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(code))
		_ = json.NewEncoder(w).Encode(Failure(code, reason))
	}
}
