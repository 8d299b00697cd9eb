// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv"
)

const namespace = "support"

// tour is the demo: a terminal, and a client that checks what the terminal shows.
type tour struct {
	terminal
	stack  *stack
	client client.Client
	// previous is the key text that the last rotation superseded.
	previous string
}

func (t *tour) connect() error {
	scheme, err := controllers.Scheme()
	if err != nil {
		return err
	}
	t.client, err = client.New(t.cluster.Config, client.Options{Scheme: scheme})
	return err
}

func (t *tour) key(name string) (*v1alpha1.DGbotAPIKey, error) {
	key := &v1alpha1.DGbotAPIKey{}
	return key, t.client.Get(t.ctx, types.NamespacedName{Namespace: namespace, Name: name}, key)
}

// plaintext reads the published key of a DGbotAPIKey.
func (t *tour) plaintext(name string) (string, error) {
	key, err := t.key(name)
	if err != nil {
		return "", err
	}
	secret, err := testenv.ReadSecret(t.ctx, t.client, namespace, lifecycle.SecretName(key))
	if err != nil {
		return "", err
	}
	if secret == nil {
		return "", fmt.Errorf("there is no Secret %s/%s", namespace, lifecycle.SecretName(key))
	}
	return string(secret.Data[lifecycle.SecretDataKey(key)]), nil
}

// verify says of a key text what any verifier with the records would say.
func (t *tour) verify(text string) (standing.Verdict, *v1alpha1.DGbotAPIKeyRecord, error) {
	records, err := testenv.ReadRecords(t.ctx, t.client, namespace, "")
	if err != nil {
		return "", nil, err
	}
	record := testenv.RecordOf(records, text)
	return testenv.VerdictOf(record, time.Now()), record, nil
}

// show asks the verifier about a key text, says what came out, and fails if it is not what the records say, or not what is
// wanted of them.
func (t *tour) show(what, text string, want standing.Verdict) error {
	verdict, record, err := t.verify(text)
	if err != nil {
		return err
	}
	about := ""
	if record != nil {
		about = fmt.Sprintf(" (revision %d, %s)", record.Spec.Revision, record.Spec.Cause)
	}
	t.say("%s is %s%s:", what, strings.ToLower(string(verdict)), about)
	if err := t.expect(verdict == want, "%s is %s, want %s", what, verdict, want); err != nil {
		return err
	}
	return t.curl(text, want == standing.Admitted)
}

// verifierDelay is how long an answer of the verifier may take to be what the records say.
const verifierDelay = time.Second

// curl asks the verifier as curl does, for at most verifierDelay, and shows the answer. The key is masked.
func (t *tour) curl(text string, good bool) error {
	masked := "dgbot_…"
	if parsed, err := apikey.Parse(text); err == nil {
		masked = parsed.Masked()
	}
	var code int
	var body string
	err := t.eventually("the verifier answers what the records say", verifierDelay, func() (bool, error) {
		var err error
		code, body, err = t.ask(text)
		return err == nil && (code == http.StatusOK) == good, err
	})
	t.say("  $ curl -X POST -H 'Authorization: Bearer %s' %s/v1/verify", masked, t.stack.verifier.URL())
	t.say("    %d %s", code, body)
	if err != nil {
		return err
	}
	return t.expect(good || code == http.StatusUnauthorized, "the verifier answers %d", code)
}

func (t *tour) ask(text string) (code int, body string, err error) {
	code, content, err := t.stack.verifier.Verify(t.ctx, text)
	return code, strings.TrimSpace(string(content)), err
}

// revisions counts the records of a key.
func (t *tour) revisions(name string) (int, error) {
	records, err := testenv.ReadRecords(t.ctx, t.client, namespace, name)
	return len(records), err
}
