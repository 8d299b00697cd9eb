// SPDX-License-Identifier: Apache-2.0

// Package starvation makes a world that is hard on an operator, and measures how a healthy key fares in it. Its tests ask
// whether anything spins or is minted in vain; hack/bench takes the figures.
package starvation

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	admission "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// Size says how hard a world is.
type Size struct {
	// Foreign and Large are Secrets of 1 KiB and of 1 MiB that belong to no key.
	Foreign, Large int
	// Conflicts are keys whose Secret's name is taken: half of them by a Secret of nobody's key, half by another key's.
	Conflicts int
	// Blocked is how many keys there are in each of the other namespaces.
	Blocked int
}

// The namespaces of a world.
const (
	// Crowd has the Secrets that belong to no key.
	Crowd = "starve-crowd"
	// Taken has the keys whose Secret's name is taken, and Winner, which has it.
	Taken  = "starve-taken"
	Winner = "winner"
	// Full has a quota for Secrets that is used up.
	Full = "starve-full"
	// Refusing has a webhook that refuses Secrets.
	Refusing = "starve-refusing"
	// Hanging has a webhook that never answers.
	Hanging = "starve-hanging"
	// Immutable has keys that want to rotate and whose Secrets are immutable.
	Immutable = "starve-immutable"
	// Ending is being deleted and does not come to its end.
	Ending = "starve-ending"
)

// World is a world that is hard on an operator. One has to be at work while it is made.
type World struct {
	admin   client.WithWatch
	size    Size
	webhook *httptest.Server
	// closing ends the webhook calls that hang.
	closing chan struct{}
}

const workers = 16

// Make makes the world.
func Make(ctx context.Context, admin client.WithWatch, size Size) (*World, error) {
	w := &World{admin: admin, size: size, closing: make(chan struct{})}
	w.startWebhook()
	if err := w.fill(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *World) fill(ctx context.Context) error {
	for _, name := range []string{Taken, Full, Refusing, Hanging, Immutable, Ending} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"starvation": name}}}
		if err := w.admin.Create(ctx, namespace); err != nil {
			return err
		}
	}
	for _, part := range []func(context.Context) error{w.conflicts, w.quota, w.webhooks, w.immutables, w.ending} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	if w.size.Foreign+w.size.Large == 0 {
		return nil
	}
	return CreateSecrets(ctx, w.admin, Crowd, w.size.Foreign, w.size.Large)
}

// Close stops the webhook.
func (w *World) Close() {
	close(w.closing)
	w.webhook.Close()
}

// Key is a key without anything that is not required.
func Key(namespace, name string) *v1alpha1.DGbotAPIKey {
	return &v1alpha1.DGbotAPIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.DGbotAPIKeySpec{Label: "Starvation", Environment: "staging"},
	}
}

func blockedName(i int) string { return fmt.Sprintf("blocked-%d", i) }

// createKeys creates blocked keys in a namespace.
func (w *World) createKeys(ctx context.Context, namespace string, change func(*v1alpha1.DGbotAPIKey)) error {
	return each(ctx, w.size.Blocked, func(ctx context.Context, i int) error {
		key := Key(namespace, blockedName(i))
		if change != nil {
			change(key)
		}
		return w.admin.Create(ctx, key)
	})
}

func (w *World) conflicts(ctx context.Context) error {
	if err := w.admin.Create(ctx, Key(Taken, Winner)); err != nil {
		return err
	}
	if err := awaitReady(ctx, w.admin, Taken, Winner); err != nil {
		return err
	}
	return each(ctx, w.size.Conflicts, func(ctx context.Context, i int) error {
		key := Key(Taken, blockedName(i))
		if i%2 == 0 {
			key.Spec.Secret = &v1alpha1.SecretSpec{Name: Winner}
			return w.admin.Create(ctx, key)
		}
		theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Taken, Name: key.Name}}
		if err := w.admin.Create(ctx, theirs); err != nil {
			return err
		}
		return w.admin.Create(ctx, key)
	})
}

func (w *World) quota(ctx context.Context) error {
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: Full, Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"secrets": resource.MustParse("0")}},
	}
	if err := w.admin.Create(ctx, quota); err != nil {
		return err
	}
	return w.createKeys(ctx, Full, nil)
}

func (w *World) webhooks(ctx context.Context) error {
	fail, none, timeout := admissionv1.Fail, admissionv1.SideEffectClassNone, int32(30)
	configuration := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "starvation"}}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.webhook.Certificate().Raw})
	for _, namespace := range []string{Refusing, Hanging} {
		url := w.webhook.URL + "/" + namespace
		configuration.Webhooks = append(configuration.Webhooks, admissionv1.ValidatingWebhook{
			Name:                    namespace + ".dgbot.io",
			ClientConfig:            admissionv1.WebhookClientConfig{URL: &url, CABundle: certificate},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"starvation": namespace}},
			AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none, TimeoutSeconds: &timeout,
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
			}},
		})
	}
	if err := w.admin.Create(ctx, configuration); err != nil {
		return err
	}
	if err := w.awaitRefusals(ctx); err != nil {
		return err
	}
	for _, namespace := range []string{Refusing, Hanging} {
		if err := w.createKeys(ctx, namespace, nil); err != nil {
			return err
		}
	}
	return nil
}

// awaitRefusals waits until the API server has heard of the webhooks.
func (w *World) awaitRefusals(ctx context.Context) error {
	return poll(ctx, "the webhook is asked", func(ctx context.Context) (bool, error) {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Refusing, Name: "probe"}}
		return w.admin.Create(ctx, probe, client.DryRunAll) != nil, nil
	})
}

func (w *World) startWebhook() {
	var refusals atomic.Int64
	w.webhook = httptest.NewUnstartedServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		var review admission.AdmissionReview
		if err := json.NewDecoder(request.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(response, "no review", http.StatusBadRequest)
			return
		}
		if request.URL.Path == "/"+Refusing {
			// In other words each time, as webhooks do that name the request.
			review.Response = &admission.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{
				Message: fmt.Sprintf("not now, says refusal %d", refusals.Add(1)),
			}}
			review.Request = nil
			_ = json.NewEncoder(response).Encode(review)
			return
		}
		select {
		case <-request.Context().Done():
		case <-w.closing:
		}
	}))
	w.webhook.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.webhook.StartTLS()
}

func (w *World) immutables(ctx context.Context) error {
	if err := w.createKeys(ctx, Immutable, nil); err != nil {
		return err
	}
	return each(ctx, w.size.Blocked, func(ctx context.Context, i int) error {
		if err := awaitReady(ctx, w.admin, Immutable, blockedName(i)); err != nil {
			return err
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Immutable, Name: blockedName(i)}}
		if err := w.admin.Patch(ctx, secret, merge(`{"immutable":true}`)); err != nil {
			return err
		}
		request := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RotateRequestedAtAnnotation, time.Now().UTC().Format(time.RFC3339))
		return w.admin.Patch(ctx, Key(Immutable, blockedName(i)), merge(request))
	})
}

// ending deletes a namespace that something keeps from ending, and with it keys that something else keeps.
func (w *World) ending(ctx context.Context) error {
	const hold = "starvation.dgbot.io/hold"
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: Ending, Name: "held", Finalizers: []string{hold}}}
	if err := w.admin.Create(ctx, held); err != nil {
		return err
	}
	if err := w.createKeys(ctx, Ending, func(key *v1alpha1.DGbotAPIKey) { key.Finalizers = []string{hold} }); err != nil {
		return err
	}
	return w.admin.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Ending}})
}

// CreateSecrets fills a new namespace with Secrets of 1 KiB and of 1 MiB.
func CreateSecrets(ctx context.Context, admin client.Client, namespace string, small, large int) error {
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return err
	}
	return each(ctx, small+large, func(ctx context.Context, i int) error {
		size := 1 << 10
		if i < large {
			size = 1<<20 - 1024 // a little less than the limit, which counts the names too
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "theirs-"}}
		secret.Data = map[string][]byte{"data": make([]byte, size)}
		return admin.Create(ctx, secret)
	})
}

// each does something n times, a few at once, until it fails.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	numbers := make(chan int)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range numbers {
				if ctx.Err() != nil {
					continue
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	group.Wait()
	return context.Cause(ctx)
}
