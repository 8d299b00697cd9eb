// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"dgbot.io/key-operator/internal/testenv/process"
)

// Verifier is a running verifier, as its clients see it.
type Verifier struct {
	*process.Program
	// Address is that of its HTTP listener.
	Address string
	// Scheme is https if it serves TLS; http if empty.
	Scheme string
	// Client asks it; http.DefaultClient if nil.
	Client *http.Client
}

// URL returns the scheme and address of the HTTP listener.
func (v *Verifier) URL() string { return cmp.Or(v.Scheme, "http") + "://" + v.Address }

// Get returns the status code of a path; 0 if the verifier does not answer.
func (v *Verifier) Get(ctx context.Context, path string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.URL()+path, nil)
	if err != nil {
		return 0
	}
	code, _, _ := v.Ask(request) // without an answer, the code is 0
	return code
}

// Verify presents a key text to /v1/verify. An error means that the verifier does not answer; the code is 0 then.
func (v *Verifier) Verify(ctx context.Context, text string) (code int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.URL()+"/v1/verify", nil)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+text)
	return v.Ask(request)
}

// Ask sends a request. An error means that the verifier does not answer; the code is 0 then.
func (v *Verifier) Ask(request *http.Request) (code int, body []byte, err error) {
	asker := v.Client
	if asker == nil {
		asker = http.DefaultClient
	}
	response, err := asker.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if body, err = io.ReadAll(response.Body); err != nil {
		return 0, nil, err
	}
	return response.StatusCode, body, nil
}

// AwaitReady waits until the verifier is ready. It fails at once if the verifier ends.
func (v *Verifier) AwaitReady(ctx context.Context, interval, within time.Duration) error {
	err := wait.PollUntilContextTimeout(ctx, interval, within, true, func(ctx context.Context) (bool, error) {
		select {
		case <-v.Exited():
			return false, fmt.Errorf("it ended: %w", v.Err())
		default:
			return v.Get(ctx, "/readyz") == http.StatusOK, nil
		}
	})
	if err != nil {
		return fmt.Errorf("waiting until the verifier is ready: %w", err)
	}
	return nil
}
