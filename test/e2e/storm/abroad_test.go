// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// abroad is a second cluster, whose keys the third verifier accepts as well. Nothing fails there: what the storm does to the verifier and to the
// first cluster must not make a valid key of the second one invalid, nor a revoked one valid.
type abroad struct {
	*testenv.Namespace
	world *testenv.World

	mutex sync.Mutex
	// valid are the key texts that were not revoked yet, by the name of the key.
	valid    map[string]string
	accepted int
	// proven are the keys whose revocation was confirmed.
	proven   int
	problems []string
}

// abroadKeys is how many keys the second cluster has; half of them are revoked during the storm.
const abroadKeys = 10

// startAbroad starts the second cluster, which stops at the end of the test.
func (s *storm) startAbroad() {
	s.t.Helper()
	world := testenv.StartFor(s.t, testenv.Options{Config: []string{"verifier-source"}})
	world.RunManager(s.t, "--leader-elect=false")
	a := &abroad{Namespace: world.NewNamespace(s.t, "abroad-"), world: world, valid: map[string]string{}}
	for i := range abroadKeys {
		name := fmt.Sprintf("key-%d", i)
		a.CreateKey(name, func(k *v1alpha1.DGbotAPIKey) { k.Spec.Environment = "development" })
		a.AwaitReady(name)
		a.valid[name] = a.KeyText(name)
	}
	s.abroad = a
	must(s.t, s.verifiers.all[2].follow(s.t.Context(), a, s.folder))
}

// follow makes a verifier accept keys of the second cluster as well.
func (v *verifier) follow(ctx context.Context, a *abroad, folder string) error {
	kubeconfig, err := a.world.SourceKubeconfig(ctx, "")
	if err != nil {
		return err
	}
	file := fmt.Sprintf("sources:\n- {name: home, namespaces: [%s]}\n- {name: abroad, kubeconfig: abroad.kubeconfig, usageNamespace: %s, environments: [development]}\n",
		strings.Join(v.namespaces, ", "), controlplane.OperatorNamespace)
	v.sources, v.clusters = filepath.Join(folder, "sources.yaml"), append(v.clusters, a.world.Admin)
	return errors.Join(os.WriteFile(filepath.Join(folder, "abroad.kubeconfig"), kubeconfig, 0o600), os.WriteFile(v.sources, []byte(file), 0o600))
}

// ask asks a verifier for the valid keys of the second cluster until the context ends. It may be down, and it may not know; it must not reject one.
func (a *abroad) ask(ctx context.Context, v *verifier) {
	for ctx.Err() == nil {
		for name, text := range a.texts() {
			code, _, _ := v.asked.Verify(ctx, text) // 0 without an answer
			a.note(name, code)
			pause(ctx, 20*time.Millisecond)
		}
	}
}

func (a *abroad) texts() map[string]string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	all := map[string]string{}
	for name, text := range a.valid {
		all[name] = text
	}
	return all
}

func (a *abroad) note(name string, code int) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	switch {
	case a.valid[name] == "": // it was revoked meanwhile
	case code == http.StatusOK:
		a.accepted++
	case code == http.StatusUnauthorized:
		a.problems = append(a.problems, "a valid key of the second cluster was rejected: "+name)
	}
}

// revoke revokes half of the keys one after the other, and asks a verifier for each after its revocation is proven. It returns when all are proven,
// or the context ends.
func (a *abroad) revoke(ctx context.Context, v *verifier) {
	for i := range abroadKeys / 2 {
		name := fmt.Sprintf("key-%d", i)
		a.mutex.Lock()
		text := a.valid[name]
		delete(a.valid, name)
		a.mutex.Unlock()
		key := &v1alpha1.DGbotAPIKey{}
		key.Namespace, key.Name = a.Name, name
		if err := a.world.Admin.Patch(ctx, key, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"state":"Revoked"}}`))); err != nil {
			return
		}
		for key.Status.Propagation == nil || key.Status.Propagation.ConfirmedAt == nil {
			if pause(ctx, 50*time.Millisecond); ctx.Err() != nil || a.world.Admin.Get(ctx, client.ObjectKeyFromObject(key), key) != nil {
				return
			}
		}
		code, _, _ := v.asked.Verify(ctx, text)
		a.mutex.Lock()
		if a.proven++; code == http.StatusOK {
			a.problems = append(a.problems, "a key of the second cluster was accepted after its revocation was confirmed: "+name)
		}
		a.mutex.Unlock()
	}
}

// judge fails the test if a promise was broken, or nothing was tested.
func (a *abroad) judge() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.T.Logf("second cluster: %d acceptances, %d revocations proven", a.accepted, a.proven)
	for _, problem := range a.problems {
		a.T.Error(problem)
	}
	if a.accepted == 0 || a.proven == 0 {
		a.T.Error("of the second cluster nothing was tested")
	}
}
