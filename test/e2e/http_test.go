// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"io"
	"net/http"
	"testing"
)

// insecureTransport takes the manager's self-signed certificate.
func insecureTransport() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// fetch returns the status code and body; 0 if no server listens.
func fetch(t *testing.T, c *http.Client, request *http.Request) (int, string) {
	t.Helper()
	response, err := c.Do(request)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(body)
}
