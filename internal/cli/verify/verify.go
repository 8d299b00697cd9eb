// SPDX-License-Identifier: Apache-2.0

// Package verify has the verb verify, which reports whether a key verifies: by the records of a cluster, or by asking a verifier.
package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/lookup"
	"dgbot.io/key-operator/internal/cli/session"
)

// verification is the result of verifying a key for the scopes that were asked for.
type verification struct {
	// Valid is true with exit code 0 only: the key verifies and has every scope.
	Valid bool `json:"valid"`
	// Why is the reason where Valid is false.
	Why           string         `json:"why,omitempty"`
	MissingScopes []string       `json:"missingScopes,omitempty"`
	Holder        *lookup.Holder `json:"holder,omitempty"`
	// Answer is a verifier's own, where one was asked.
	Answer json.RawMessage `json:"answer,omitempty"`
}

// New returns the verb verify.
func New(s *session.Session) *cobra.Command {
	var output, address string
	var scopes []string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Report whether a key on standard input is valid",
		Long: `Reads one key from standard input, and reports whether it is valid, and has the given scopes. It looks at the records of the cluster, as
verifiers do. With --url it asks a verifier instead, which counts as a use of the key.

    kubectl dgbot verify --scope conversations.read <key.txt
    kubectl port-forward -n dgbot-system svc/dgbot-verifier 8080:80 & kubectl dgbot verify --url http://localhost:8080 <key.txt

Exit code 3: the key is not valid, or lacks a scope.`,
		Args: lookup.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := flags.CheckOutput(output, []string{"", "json", "yaml"}); err != nil {
				return err
			}
			key, err := lookup.ReadKey(s.Streams.In, c.CommandPath())
			if err != nil {
				return err
			}
			var v verification
			if address != "" {
				v, err = askVerifier(c.Context(), address, key, scopes)
			} else {
				v, err = verifyByRecords(c.Context(), s, key, scopes)
			}
			if err != nil {
				return err
			}
			return tell(s, &v, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json or yaml, for the same in a form for programs")
	c.Flags().StringVar(&address, "url", "", "Verifier to ask, such as http://localhost:8080; anything but localhost only with https")
	c.Flags().StringSliceVar(&scopes, "scope", nil, "Scopes that the key must have, such as conversations.read")
	return c
}

func tell(s *session.Session, v *verification, output string) error {
	if output != "" {
		if err := display.PrintValue(s.Streams.Out, output, v); err != nil {
			return err
		}
	}
	switch {
	case !v.Valid:
		return exit.No("%s", v.Why)
	case output != "":
		return nil
	case v.Holder != nil:
		return display.Writef(s.Streams.Out, "%s\n", v.Holder.Sentence(s.Clock.Now()))
	}
	return display.Writef(s.Streams.Out, "valid: the verifier accepts it\n")
}

// explain sets Why where the verification failed. rejected is the reason where the key itself does not verify; a key that
// verifies without the scopes is not valid either.
func (v *verification) explain(rejected string) {
	switch {
	case len(v.MissingScopes) > 0:
		v.Valid, v.Why = false, "missing scopes: "+strings.Join(v.MissingScopes, ", ")
	case !v.Valid:
		v.Why = rejected
	}
}

func verifyByRecords(ctx context.Context, s *session.Session, key apikey.Key, scopes []string) (verification, error) {
	cluster, err := s.Connect()
	if err != nil {
		return verification{}, err
	}
	f, err := lookup.NewFinder(ctx, cluster)
	if err != nil {
		return verification{}, err
	}
	h, err := f.Find(ctx, key)
	switch {
	case err != nil:
		return verification{}, err
	case h == nil:
		return verification{Why: "no record has this key " + f.Where()}, nil
	}
	v := verification{Valid: h.Valid, Holder: h}
	for _, scope := range scopes {
		if h.Valid && !slices.ContainsFunc(h.Scopes, func(has v1alpha1.Scope) bool { return has.Covers(v1alpha1.Scope(scope)) }) {
			v.MissingScopes = append(v.MissingScopes, scope)
		}
	}
	v.explain(h.Sentence(f.Now))
	return v, nil
}

// answerLimit is more than any answer of a verifier has.
const answerLimit = 64 << 10

// askVerifier asks a verifier as a REST API would.
func askVerifier(parent context.Context, address string, key apikey.Key, scopes []string) (verification, error) {
	target, err := url.Parse(address)
	if err != nil || target.Host == "" || target.Scheme != "https" && !(target.Scheme == "http" && local(target.Hostname())) {
		return verification{}, exit.Usage("--url wants https://HOST, or http://localhost: the key is not sent in the open")
	}
	// With the path of an answer, as 'make run' prints it.
	target.Path = strings.TrimSuffix(strings.TrimSuffix(target.Path, "/"), "/v1/verify")
	body, err := json.Marshal(map[string][]string{"scopes": scopes})
	if err != nil {
		return verification{}, err
	}
	ctx, cancel := context.WithTimeout(parent, lookup.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.JoinPath("v1", "verify").String(), bytes.NewReader(body))
	if err != nil {
		return verification{}, err
	}
	request.Header.Set("Authorization", "Bearer "+key.Reveal())
	request.Header.Set("Content-Type", "application/json")
	// A redirect would send the key to another server.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return verification{}, verifierError(parent, target, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return verification{}, verifierError(parent, target, err)
	}
	v := verification{}
	switch response.StatusCode {
	case http.StatusOK, http.StatusUnauthorized, http.StatusForbidden:
	case http.StatusBadRequest:
		return v, exit.Usage("the verifier does not take the scopes %s", strings.Join(scopes, ", "))
	default:
		return v, fmt.Errorf("the verifier answers %s", response.Status)
	}
	if err := json.Unmarshal(answer, &v); err != nil {
		return v, fmt.Errorf("%s does not answer as a verifier does: %s", target.Redacted(), response.Status)
	}
	v.Answer = answer
	v.explain("the verifier refuses it")
	return v, nil
}

// verifierError is why a verifier has not answered.
func verifierError(ctx context.Context, target *url.URL, err error) error {
	var timeout net.Error
	if ctx.Err() == nil && errors.As(err, &timeout) && timeout.Timeout() {
		return exit.Late("no answer within %s from the verifier at %s: check that it can be reached", lookup.Timeout, target.Redacted())
	}
	return fmt.Errorf("asking the verifier: %w", err)
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
