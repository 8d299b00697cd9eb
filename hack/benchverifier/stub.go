// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/hack/figures"
)

// recordStream is as much of an API server as a verifier needs to learn of many records: it streams them as the beginning of
// a watch, and then has no news. A real one, with etcd behind it, would take hours to fill.
type recordStream struct {
	records int
	// texts are keys of some of the records, once all were streamed.
	texts []string
}

type event struct {
	Type   string                      `json:"type"`
	Object *v1alpha1.DGbotAPIKeyRecord `json:"object"`
}

func (s *recordStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/dgbotapikeyrecords") {
		http.NotFound(w, r) // Leases, which no client writes here
		return
	}
	w.Header().Set("Content-Type", "application/json")
	buffered := bufio.NewWriterSize(w, 1<<16)
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		if err := s.initial(json.NewEncoder(buffered)); err != nil {
			_, _ = fmt.Fprintln(buffered, err) // no event: the verifier says so, and tries again
		}
	}
	if buffered.Flush() == nil {
		_ = http.NewResponseController(w).Flush()
	}
	// A watch that lasts longer than it asked for counts as a lost connection, and is followed by a complete list.
	seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	if err != nil {
		seconds = 0
	}
	select {
	case <-time.After(time.Duration(seconds) * time.Second):
	case <-r.Context().Done():
	}
}

func (s *recordStream) initial(encoder *json.Encoder) error {
	s.texts = nil
	for i := range s.records {
		if i%(max(s.records/5, 1)) == 0 {
			figures.Progress("streaming records: %d of %d", i, s.records)
		}
		record, text, err := recordOf(i)
		if err != nil {
			return err
		}
		if i%max(s.records/asked, 1) == 0 {
			s.texts = append(s.texts, text)
		}
		record.UID, record.ResourceVersion, record.CreationTimestamp = record.Spec.APIKeyRef.UID, strconv.Itoa(i+1), record.Spec.IssuedAt
		if err := encoder.Encode(event{"ADDED", record}); err != nil {
			return err
		}
	}
	return encoder.Encode(event{"BOOKMARK", &v1alpha1.DGbotAPIKeyRecord{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyRecordKind},
		ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: strconv.Itoa(s.records + 1), Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		},
	}})
}
