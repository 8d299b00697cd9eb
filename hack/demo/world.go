// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle"
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
	secret := &corev1.Secret{}
	err = t.client.Get(t.ctx, types.NamespacedName{Namespace: namespace, Name: lifecycle.SecretName(key)}, secret)
	return string(secret.Data[lifecycle.SecretDataKey(key)]), err
}

// verify says of a key text what any verifier with the records would say.
func (t *tour) verify(text string) (lifecycle.Verdict, *v1alpha1.DGbotAPIKeyRecord, error) {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := t.client.List(t.ctx, &records, client.InNamespace(namespace)); err != nil {
		return "", nil, err
	}
	hash := apikey.Hash([]byte(text))
	for i := range records.Items {
		if record := &records.Items[i]; record.Spec.Hash == hash {
			return lifecycle.Admit(record, time.Now()), record, nil
		}
	}
	return "Unknown", nil, nil
}

// show verifies a key text, says what came out, and fails if it is another verdict than expected.
func (t *tour) show(what, text string, want lifecycle.Verdict) error {
	verdict, record, err := t.verify(text)
	if err != nil {
		return err
	}
	masked := "no key"
	if parsed, err := apikey.Parse(text); err == nil {
		masked = parsed.Masked()
	}
	about := ""
	if record != nil {
		about = fmt.Sprintf(" (revision %d, %s)", record.Spec.Revision, record.Spec.Cause)
	}
	t.say("verify %s %s: %s%s", what, masked, verdict, about)
	return t.expect(verdict == want, "%s is %s, want %s", what, verdict, want)
}

// revisions counts the records of a key.
func (t *tour) revisions(name string) (int, error) {
	var records v1alpha1.DGbotAPIKeyRecordList
	if err := t.client.List(t.ctx, &records, client.InNamespace(namespace)); err != nil {
		return 0, err
	}
	n := 0
	for _, record := range records.Items {
		if record.Spec.APIKeyRef.Name == name {
			n++
		}
	}
	return n, nil
}
