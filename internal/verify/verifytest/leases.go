// SPDX-License-Identifier: Apache-2.0

package verifytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
)

// User is the name of the user that Leases knows its client by.
const User = "system:serviceaccount:dgbot-system:dgbot-verifier"

// Fault is what happens to a request.
type Fault int

const (
	// None serves the request.
	None Fault = iota
	// LostRequest loses the request: nothing is stored, and the client gets no answer.
	LostRequest
	// LostAnswer stores what the request writes, and loses the answer.
	LostAnswer
	// Forbidden rejects the request.
	Forbidden
	// Busy asks the client to retry later.
	Busy
)

// Leases serves Leases and SelfSubjectReviews as an API server does. The zero value is empty and ready.
type Leases struct {
	// Fault, unless it is nil, decides what happens to a request.
	Fault func(r *http.Request) Fault

	mutex   sync.Mutex
	stored  map[string]*coordinationv1.Lease
	version int
	writes  []Write
}

// Write is an accepted write of a Lease.
type Write struct {
	At    time.Time
	Lease *coordinationv1.Lease
}

// IsTheirs reports whether a request is for Leases.
func (l *Leases) IsTheirs(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/apis/coordination.k8s.io/") || strings.HasPrefix(r.URL.Path, "/apis/authentication.k8s.io/")
}

// Writes returns the accepted writes.
func (l *Leases) Writes() []Write {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return append([]Write{}, l.writes...)
}

// Last returns the Lease of the last write.
func (l *Leases) Last() *coordinationv1.Lease {
	writes := l.Writes()
	if len(writes) == 0 {
		return &coordinationv1.Lease{}
	}
	return writes[len(writes)-1].Lease
}

// Alter changes a stored Lease as another client does; a nil change deletes it.
func (l *Leases) Alter(name string, change func(*coordinationv1.Lease)) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if change == nil {
		delete(l.stored, name)
		return
	}
	change(l.stored[name])
	l.version++
	l.stored[name].ResourceVersion = strconv.Itoa(l.version)
}

// Count sets the version of the last write of any object.
func (l *Leases) Count(version int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.version = version
}

// Stored returns the Lease of a name; nil for none.
func (l *Leases) Stored(name string) *coordinationv1.Lease {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.stored[name].DeepCopy()
}

// ServeHTTP implements http.Handler.
func (l *Leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := None
	if l.Fault != nil {
		fault = l.Fault(r)
	}
	var code int
	var answer any
	switch fault {
	case LostRequest:
		<-r.Context().Done()
		return
	case Forbidden:
		code, answer = http.StatusForbidden, Failure(http.StatusForbidden, metav1.StatusReasonForbidden)
	case Busy:
		code, answer = http.StatusServiceUnavailable, Failure(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	default:
		code, answer = l.serve(r)
	}
	if fault == LostAnswer {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func (l *Leases) serve(r *http.Request) (code int, answer any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if strings.HasSuffix(r.URL.Path, "/selfsubjectreviews") {
		review := authenticationv1.SelfSubjectReview{TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "SelfSubjectReview"}}
		review.Status.UserInfo.Username = User
		return http.StatusCreated, review
	}
	if r.Method == http.MethodGet {
		lease, found := l.stored[path.Base(r.URL.Path)]
		if !found {
			return http.StatusNotFound, Failure(http.StatusNotFound, metav1.StatusReasonNotFound)
		}
		return http.StatusOK, lease
	}
	lease := &coordinationv1.Lease{}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = runtime.DecodeInto(scheme.Codecs.UniversalDeserializer(), body, lease) // JSON or Protobuf
	}
	if err != nil {
		return http.StatusBadRequest, Failure(http.StatusBadRequest, metav1.StatusReasonBadRequest)
	}
	present, exists := l.stored[lease.Name]
	switch {
	case r.Method == http.MethodPost && exists:
		return http.StatusConflict, Failure(http.StatusConflict, metav1.StatusReasonAlreadyExists)
	case r.Method == http.MethodPost:
		lease.UID = types.UID(fmt.Sprintf("lease-%d", l.version+1))
	case !exists && lease.UID != "" || exists && (present.ResourceVersion != lease.ResourceVersion || present.UID != lease.UID):
		return http.StatusConflict, Failure(http.StatusConflict, metav1.StatusReasonConflict)
	}
	l.version++
	lease.TypeMeta, lease.ResourceVersion = metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}, strconv.Itoa(l.version)
	if l.stored == nil {
		l.stored = map[string]*coordinationv1.Lease{}
	}
	l.stored[lease.Name] = lease
	l.writes = append(l.writes, Write{clock.RealClock{}.Now(), lease.DeepCopy()})
	return http.StatusOK, lease.DeepCopy()
}
