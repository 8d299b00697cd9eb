// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// 'make soak' gives the sizes that the verifier is to hold.
var (
	revocations = flag.Int("load.revocations", 150, "how many keys are revoked under load")
	rotating    = flag.Int("load.keys", 40, "how many keys are rotated under load")
	rotations   = flag.Int("load.rotations", 3, "how often each of them is")
)

const (
	createdAtOnce = 16
	// revokedAtOnce leaves the two cores of a small machine time for the traffic, so that the delay is not one of queueing here.
	revokedAtOnce = 2
	clients       = 4
)

// keys creates that many keys of an environment and returns their names.
func (p *place) keys(n int, rotation *v1alpha1.Rotation) []string {
	p.T.Helper()
	names := make([]string, n)
	inParallel(createdAtOnce, n, func(i int) {
		names[i] = fmt.Sprintf("key-%05d", i)
		key := &v1alpha1.DGbotAPIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: names[i]},
			Spec:       v1alpha1.DGbotAPIKeySpec{Label: "Load", Environment: "staging", Rotation: rotation},
		}
		if err := admin.Create(p.T.Context(), key); err != nil {
			p.T.Error(err)
		}
	})
	for _, name := range names {
		// One by one: an operator needs minutes for thousands, and is not to be kept from it by lists of them.
		eventually(p.T, name+" is Ready", func() bool {
			key := &v1alpha1.DGbotAPIKey{}
			must(p.T, admin.Get(p.T.Context(), types.NamespacedName{Namespace: p.Name, Name: name}, key))
			return apimeta.IsStatusConditionTrue(key.Status.Conditions, v1alpha1.ReadyCondition)
		})
	}
	return names
}

// inParallel calls do for each number below n, some at once.
func inParallel(atOnce, n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(atOnce, n) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// traffic makes requests from some clients at once until it is stopped.
func traffic(request func()) (stop func()) {
	ended := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					request()
				}
			}
		})
	}
	return func() { close(ended); all.Wait() }
}

// wearing makes requests keep their connections: each client has one.
func (v *verifier) wearing() {
	v.Client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4 * clients}}
}

// distribution says how the values lie, in the order of the log.
func distribution(values []time.Duration) string {
	slices.Sort(values)
	at := func(share float64) time.Duration {
		return values[int(share*float64(len(values)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, p99.9 %s, worst %s", at(0.5), at(0.9), at(0.99), at(0.999), at(1))
}

// TestRevokedKeysAreRefusedUnderLoad: from the write of spec.state to the first refusal, through operator and verifier, with
// traffic on keys that are good. No key is refused before, none accepted after.
func TestRevokedKeysAreRefusedUnderLoad(t *testing.T) {
	v := startVerifier(t)
	v.wearing()
	v.ready()
	p := newPlace(t)
	names := p.keys(*revocations, nil)
	texts := make([]string, len(names))
	inParallel(createdAtOnce, len(names), func(i int) { texts[i] = p.KeyText(names[i]) })
	v.becomes("the last key", texts[len(texts)-1], http.StatusOK)

	const good, going, gone = 0, 1, 2
	state := make([]atomic.Int32, len(names))
	var asked atomic.Int64
	stop := traffic(func() {
		i := rand.IntN(len(names))
		before := state[i].Load()
		code, _ := v.verify(texts[i])
		asked.Add(1)
		switch after := state[i].Load(); {
		case before == gone && code != http.StatusUnauthorized:
			t.Errorf("%s is answered with %d after it was refused", names[i], code)
		case after == good && code != http.StatusOK:
			t.Errorf("%s is answered with %d before it was revoked", names[i], code)
		}
	})
	delays := make([]time.Duration, len(names))
	inParallel(revokedAtOnce, len(names), func(i int) {
		state[i].Store(going)
		key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: names[i]}}
		began := time.Now()
		if err := admin.Patch(t.Context(), key, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Revoked"}}`))); err != nil {
			t.Error(err)
			return
		}
		for {
			code, _ := v.verify(texts[i])
			if code == http.StatusUnauthorized {
				break
			}
			if time.Since(began) > within {
				t.Errorf("%s is still answered with %d", names[i], code)
				return
			}
			time.Sleep(time.Millisecond)
		}
		delays[i] = time.Since(began)
		state[i].Store(gone)
	})
	stop()
	t.Logf("%d revocations under %d verifications: from before the write to the first refusal %s", len(delays), asked.Load(), distribution(delays))
}

// consumer holds a key as an application does: it reads the Secret once, and again when it is refused.
type consumer struct {
	name  string
	mutex sync.Mutex
	text  string
}

// TestConsumersThatReadTheSecretAgainFollowRotations: without any overlap each rotation may refuse a consumer once. What it reads
// then is good.
func TestConsumersThatReadTheSecretAgainFollowRotations(t *testing.T) {
	v := startVerifier(t)
	v.wearing()
	v.ready()
	p := newPlace(t)
	names := p.keys(*rotating, &v1alpha1.Rotation{Overlap: &metav1.Duration{}})
	consumers := make([]*consumer, len(names))
	for i, name := range names {
		consumers[i] = &consumer{name: name, text: p.KeyText(name)}
	}
	v.becomes("the last key", consumers[len(consumers)-1].text, http.StatusOK)
	var asked, refused, again atomic.Int64
	stop := traffic(func() {
		c := consumers[rand.IntN(len(consumers))]
		if !c.mutex.TryLock() {
			return // an application makes one request after the other
		}
		defer c.mutex.Unlock()
		asked.Add(1)
		if code, _ := v.verify(c.text); code != http.StatusOK {
			refused.Add(1)
			c.text = p.KeyText(c.name)
			if code, _ := v.verify(c.text); code != http.StatusOK {
				again.Add(1)
				t.Errorf("%s is answered with %d although its key was just read", c.name, code)
			}
		}
	})
	for range *rotations {
		before := make([]int64, len(names))
		inParallel(createdAtOnce, len(names), func(i int) {
			key := &v1alpha1.DGbotAPIKey{}
			must(t, admin.Get(t.Context(), types.NamespacedName{Namespace: p.Name, Name: names[i]}, key))
			before[i] = key.Status.Current.Revision
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RotateRequestedAtAnnotation, key.Status.Current.IssuedAt.UTC().Format(time.RFC3339))
			must(t, admin.Patch(t.Context(), key, client.RawPatch(types.MergePatchType, []byte(patch))))
		})
		eventually(t, "all are rotated", func() bool {
			var list v1alpha1.DGbotAPIKeyList
			must(t, admin.List(t.Context(), &list, client.InNamespace(p.Name)))
			for i, key := range list.Items { // in the order of their names
				if key.Status.Current == nil || key.Status.Current.Revision == before[i] {
					return false
				}
			}
			return true
		})
	}
	stop()
	t.Logf("%d rotations of %d keys under %d verifications: refused once %d times, again %d times",
		*rotations*len(names), len(names), asked.Load(), refused.Load(), again.Load())
	if refused.Load() == 0 {
		t.Error("no request was rejected: the rotations did not overlap with the traffic")
	}
}
