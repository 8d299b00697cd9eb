// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"dgbot.io/key-operator/internal/apikey"
)

// answers are what verifiers answered to the keys that were seen in Secrets.
type answers struct {
	mutex sync.Mutex
	texts []issued
	known map[string]bool
	// accepted has what was accepted, and rejected when a key was last rejected, by the hash of the key.
	accepted map[string][]acceptance
	rejected map[string]time.Time
}

// issued is a key that was seen in a Secret.
type issued struct{ namespace, text string }

// acceptance is an answer with the code 200. The times are those of the client.
type acceptance struct {
	by         string
	began, end time.Time
}

func newAnswers() *answers {
	return &answers{known: map[string]bool{}, accepted: map[string][]acceptance{}, rejected: map[string]time.Time{}}
}

// add adds a key to those that verifiers are asked for.
func (a *answers) add(namespace, text string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if !a.known[text] {
		a.known[text] = true
		a.texts = append(a.texts, issued{namespace, text})
	}
}

func (a *answers) seen() []issued {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return slices.Clone(a.texts)
}

// note keeps an answer. Other codes than 200 and 401 do not say whether the verifier accepts the key.
func (a *answers) note(by, text string, code int, began time.Time) {
	hash := apikey.Hash([]byte(text))
	a.mutex.Lock()
	defer a.mutex.Unlock()
	switch code {
	case http.StatusOK:
		a.accepted[hash] = append(a.accepted[hash], acceptance{by, began, time.Now()})
	case http.StatusUnauthorized:
		a.rejected[hash] = began
	}
}

// ask asks a verifier for all keys in turns until the context ends, and less often for those that it rejected.
func (a *answers) ask(ctx context.Context, v *verifier) {
	rejected := map[string]bool{}
	for ctx.Err() == nil {
		for _, key := range a.seen() {
			if !slices.Contains(v.namespaces, key.namespace) || rejected[key.text] && rand.IntN(8) > 0 {
				continue
			}
			began := time.Now()
			code, _, _ := v.asked.Verify(ctx, key.text) // 0 without an answer
			a.note(v.asked.Address, key.text, code, began)
			switch code {
			case http.StatusOK, http.StatusUnauthorized:
				rejected[key.text] = code == http.StatusUnauthorized
				pause(ctx, 3*time.Millisecond)
			default:
				pause(ctx, 50*time.Millisecond)
			}
			if ctx.Err() != nil {
				return
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
}
