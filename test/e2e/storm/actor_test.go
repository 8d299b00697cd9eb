// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/process"
)

// actor is a user who changes a few keys, one after the other, without waiting for the results.
type actor struct {
	namespace string
	keys      []*victim
	deeds     *tally
	answers   *answers
}

// victim is a name under which keys come and go.
type victim struct {
	name string
	// texts are keys that were once in the Secret.
	texts []string
	// losses of the present key: beyond 20 within an hour their replacement is damped, which would end the storm early.
	losses int
}

const maxLosses = 8

// tally counts what was done, and remembers the records that were removed by hand.
type tally struct {
	mutex  sync.Mutex
	done   map[string]int
	failed atomic.Int64
	// seen counts the keys that were seen in Secrets.
	seen    atomic.Int64
	removed map[types.UID]bool
	// refusals are the errors that the API server answered with, admission messages among them.
	refusals process.Log
}

func (t *tally) count(deed string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.done[deed]++
}

func (t *tally) remove(record types.UID) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.removed[record] = true
}

func (t *tally) hasRemoved(record *v1alpha1.DGbotAPIKeyRecord) bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.removed[record.UID]
}

// deed is something that is done to a key. What fails, because the API server is down or rejects it, is not done again.
type deed struct {
	name string
	// loss reports whether it makes the operator replace the Secret.
	loss bool
	do   func(a *actor, ctx context.Context, v *victim) error
}

var deeds = []deed{
	{"rotate in spec", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"rotation":{"requestedAt":%q}}}`, second(0))
	}},
	{"rotate by annotation", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.annotate(ctx, v, v1alpha1.RotateRequestedAtAnnotation, second(0))
	}},
	{"plan a rotation", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.annotate(ctx, v, v1alpha1.RotateRequestedAtAnnotation, second(rand.N(4*time.Second)))
	}},
	{"revoke in spec", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"rotation":{"revokeIssuedBefore":%q}}}`, second(0))
	}},
	{"revoke by annotation", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.annotate(ctx, v, v1alpha1.RevokeIssuedBeforeAnnotation, second(0))
	}},
	{"write nonsense into an annotation", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.annotate(ctx, v, v1alpha1.RevokeIssuedBeforeAnnotation, "yesterday")
	}},
	{"disable", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.setState(ctx, v, v1alpha1.StateDisabled)
	}},
	{"revoke the key", false, func(a *actor, ctx context.Context, v *victim) error { return a.setState(ctx, v, v1alpha1.StateRevoked) }},
	{"activate", false, func(a *actor, ctx context.Context, v *victim) error { return a.setState(ctx, v, v1alpha1.StateActive) }},
	{"activate", false, func(a *actor, ctx context.Context, v *victim) error { return a.setState(ctx, v, v1alpha1.StateActive) }},
	{"keep the key", false, (*actor).keep},
	{"let it expire", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"expiresAt":%q}}`, second(time.Second+rand.N(5*time.Second)))
	}},
	{"move the expiry", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"expiresAt":%q}}`, second(time.Hour+rand.N(time.Hour)))
	}},
	{"remove the expiry", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"expiresAt":null}}`)
	}},
	{"remove the expiry", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"expiresAt":null}}`)
	}},
	{"change the overlap", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"rotation":{"overlap":%q}}}`, []string{"0s", "2s", "30m", "1h"}[rand.IntN(4)])
	}},
	{"change label and scopes", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patch(ctx, v, `{"spec":{"label":"%d","scopes":["s.%d"]}}`, rand.IntN(100), rand.IntN(100))
	}},
	{"delete the key", false, func(a *actor, ctx context.Context, v *victim) error {
		key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: v.name}}
		policy := []metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan}[rand.IntN(3)]
		return admin.Delete(ctx, key, &client.DeleteOptions{PropagationPolicy: &policy})
	}},
	{"delete the Secret", true, func(a *actor, ctx context.Context, v *victim) error {
		return admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: v.name}})
	}},
	{"garble the Secret", true, func(a *actor, ctx context.Context, v *victim) error { return a.overwrite(ctx, v, "garbled") }},
	{"restore an older key", true, func(a *actor, ctx context.Context, v *victim) error {
		if len(v.texts) == 0 {
			return nil
		}
		return a.overwrite(ctx, v, v.texts[rand.IntN(len(v.texts))])
	}},
	{"edit what is ours in the Secret", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patchSecret(ctx, v, fmt.Sprintf(`{"metadata":{"labels":{%q:null}},"data":{"environment":"eHg="}}`, v1alpha1.ManagedByLabel))
	}},
	{"take the Secret's owner away", false, func(a *actor, ctx context.Context, v *victim) error {
		return a.patchSecret(ctx, v, `{"metadata":{"ownerReferences":null}}`)
	}},
}

// erasure is done only where it is asked for.
var erasure = deed{"delete the record in use", true, (*actor).deleteRecord}

// run does deeds until the context ends.
func (a *actor) run(ctx context.Context) {
	for ctx.Err() == nil {
		if rand.IntN(5) == 0 {
			a.actOnBot(ctx)
		} else {
			a.act(ctx, a.keys[rand.IntN(len(a.keys))])
		}
		pause(ctx, rand.N(250*time.Millisecond))
	}
}

func (a *actor) act(ctx context.Context, v *victim) {
	a.look(ctx, v)
	if a.create(ctx, v) {
		return
	}
	chosen := deeds[rand.IntN(len(deeds))]
	if *erasing && rand.IntN(len(deeds)) == 0 {
		chosen = erasure
	}
	if chosen.loss && v.losses >= maxLosses {
		return
	}
	if err := chosen.do(a, ctx, v); err != nil {
		a.deeds.failed.Add(1)
		_, _ = fmt.Fprintln(&a.deeds.refusals, err)
		return
	}
	if chosen.loss {
		v.losses++
	}
	a.deeds.count(chosen.name)
}

// look remembers the key that is in the Secret.
func (a *actor) look(ctx context.Context, v *victim) {
	secret := &corev1.Secret{}
	if err := admin.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: v.name}, secret); err != nil {
		return
	}
	text := string(secret.Data[v1alpha1.DefaultSecretKey])
	if len(text) < 20 || len(v.texts) > 0 && v.texts[len(v.texts)-1] == text {
		return
	}
	v.texts = append(v.texts, text)
	a.deeds.seen.Add(1)
	a.answers.add(a.namespace, text)
}

// create creates the key where there is none; it reports whether it did.
func (a *actor) create(ctx context.Context, v *victim) bool {
	key := &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: v.name},
		Spec: v1alpha1.DGbotAPIKeySpec{
			Label: "Storm", Environment: "staging", Rotation: &v1alpha1.Rotation{Overlap: &metav1.Duration{Duration: time.Hour}},
		},
	}
	if rand.IntN(2) == 0 {
		key.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: chatbot}
	}
	if rand.IntN(10) == 0 {
		key.Spec.Rotation = &v1alpha1.Rotation{Interval: &metav1.Duration{Duration: time.Minute}, Overlap: &metav1.Duration{Duration: 5 * time.Second}}
	}
	if admin.Create(ctx, key) != nil {
		return false
	}
	v.losses = 0
	a.deeds.count("create the key")
	return true
}

func (a *actor) patch(ctx context.Context, v *victim, format string, args ...any) error {
	key := &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: v.name}}
	return admin.Patch(ctx, key, client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(format, args...))))
}

func (a *actor) annotate(ctx context.Context, v *victim, name, value string) error {
	return a.patch(ctx, v, `{"metadata":{"annotations":{%q:%q}}}`, name, value)
}

func (a *actor) setState(ctx context.Context, v *victim, state v1alpha1.KeyState) error {
	return a.patch(ctx, v, `{"spec":{"state":%q}}`, state)
}

func (a *actor) patchSecret(ctx context.Context, v *victim, patch string) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: v.name}}
	return admin.Patch(ctx, secret, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// overwrite puts a text into the Secret, with a mark by which the judge knows that it was not the operator.
func (a *actor) overwrite(ctx context.Context, v *victim, text string) error {
	return a.patchSecret(ctx, v, fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}},"data":{%q:%q}}`,
		touchedAnnotation, rand.Uint64(), v1alpha1.DefaultSecretKey, base64.StdEncoding.EncodeToString([]byte(text))))
}

func (a *actor) deleteRecord(ctx context.Context, v *victim) error {
	key := &v1alpha1.DGbotAPIKey{}
	if err := admin.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: v.name}, key); err != nil || key.Status.Current == nil {
		return err
	}
	record := &v1alpha1.DGbotAPIKeyRecord{}
	if err := admin.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: key.Status.Current.RecordName}, record); err != nil {
		return err
	}
	a.deeds.remove(record.UID)
	return admin.Delete(ctx, record, client.Preconditions{UID: &record.UID})
}

// second is a time from now in whole seconds.
func second(ahead time.Duration) string { return time.Now().Add(ahead).UTC().Format(time.RFC3339) }
