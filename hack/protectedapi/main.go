// SPDX-License-Identifier: Apache-2.0

// Command protectedapi is an API that asks a verifier about each request's key, or with --behind-gateway takes a gateway's word for it: the
// example of docs/protect-an-api.md.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	verifier := flag.String("verifier", "http://127.0.0.1:8080", "URL of the verifier")
	address := flag.String("address", "127.0.0.1:8000", "where to listen")
	isBehind := flag.Bool("behind-gateway", false, "take the gateway's word for the key, and deny requests that have not passed it")
	flag.Parse()
	require := (&keys{verifier: *verifier, client: &http.Client{Timeout: time.Second}}).require
	if *isBehind {
		require = requireGateway
	}
	api := http.NewServeMux()
	api.Handle("GET /conversations", require("conversations.read", greet))
	api.Handle("POST /conversations", require("conversations.write", greet))
	server := &http.Server{Addr: *address, Handler: api, ReadHeaderTimeout: 5 * time.Second}
	log.Printf("listening on http://%s", *address)
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintf(os.Stderr, "protectedapi: --address %s: %v\n", *address, err)
		os.Exit(1)
	}
}

func greet(w http.ResponseWriter, _ *http.Request, by caller) {
	_, _ = fmt.Fprintf(w, "Hello %s/%s, key %s of %s\n", by.Namespace, by.Name, by.KeyID, by.Environment)
}

// caller is what the verifier says of a good key.
type caller struct {
	KeyID       string   `json:"keyID"`
	Environment string   `json:"environment"`
	Scopes      []string `json:"scopes"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
}

type keys struct {
	verifier string
	client   *http.Client
}

// require lets requests through whose key is good and has the scope. An answer is good for one request: to keep it longer
// would be to accept a key longer after it was revoked.
func (k *keys) require(scope string, next func(http.ResponseWriter, *http.Request, caller)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, by, err := k.ask(r, scope)
		switch {
		case err != nil || code == http.StatusServiceUnavailable:
			// No verifier answers, so the key may be valid: 401 would be wrong.
			w.Header().Set("Retry-After", "1")
			http.Error(w, "try again", http.StatusServiceUnavailable)
		case code == http.StatusUnauthorized:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "no good key", code)
		case code == http.StatusForbidden:
			http.Error(w, "the key lacks the scope "+scope, code)
		case code != http.StatusOK:
			http.Error(w, "the verifier does not understand", http.StatusInternalServerError)
		default:
			next(w, r, by)
		}
	})
}

// ask hands the headers that may carry a key to the verifier, as they are.
func (k *keys) ask(r *http.Request, scope string) (code int, by caller, err error) {
	body, err := json.Marshal(map[string][]string{"scopes": {scope}})
	if err != nil {
		return 0, by, err
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, k.verifier+"/v1/verify", bytes.NewReader(body))
	if err != nil {
		return 0, by, err
	}
	for _, name := range []string{"Authorization", "X-Api-Key"} {
		request.Header[name] = r.Header[name]
	}
	response, err := k.client.Do(request)
	if err != nil {
		return 0, by, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil || response.StatusCode != http.StatusOK {
		return response.StatusCode, by, err
	}
	return response.StatusCode, by, json.Unmarshal(content, &by)
}
