// SPDX-License-Identifier: Apache-2.0

// Package starvation makes a control plane hard on an operator, and measures how long a healthy key takes there. Its tests check
// that no reconcile repeats without end and no key is minted in vain; hack/bench takes the figures.
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
	"dgbot.io/key-operator/internal/testenv"
)

// Size is how hard a Hardship is.
type Size struct {
	// Foreign and Large are Secrets of 1 KiB and of 1 MiB that belong to no key.
	Foreign, Large int
	// Conflicts are keys whose Secret's name is taken: half of them by a Secret without a key, half by another key's.
	Conflicts int
	// Blocked is how many keys there are in each of the other namespaces.
	Blocked int
}

// The namespaces of a Hardship.
const (
	// Crowd has the Secrets that belong to no key.
	Crowd = "starve-crowd"
	// Taken has the keys whose Secret's name is taken, and Winner, which has it.
	Taken  = "starve-taken"
	Winner = "winner"
	// Full has a quota for Secrets that is used up.
	Full = "starve-full"
	// Refusing has a webhook that rejects Secrets.
	Refusing = "starve-refusing"
	// Hanging has a webhook that never answers.
	Hanging = "starve-hanging"
	// Immutable has keys that want to rotate and whose Secrets are immutable.
	Immutable = "starve-immutable"
	// Ending is being deleted and does not come to its end.
	Ending = "starve-ending"
)

// Hardship is a control plane in a state that is hard on an operator: most keys cannot be issued. An operator must run while it is made.
type Hardship struct {
	admin   client.WithWatch
	size    Size
	webhook *httptest.Server
	// closing ends the webhook calls that hang.
	closing chan struct{}
}

const workers = 16

// Make makes the Hardship.
func Make(ctx context.Context, admin client.WithWatch, size Size) (*Hardship, error) {
	h := &Hardship{admin: admin, size: size, closing: make(chan struct{})}
	h.startWebhook()
	if err := h.fill(ctx); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *Hardship) fill(ctx context.Context) error {
	for _, name := range []string{Taken, Full, Refusing, Hanging, Immutable, Ending} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"starvation": name}}}
		if err := h.admin.Create(ctx, namespace); err != nil {
			return err
		}
	}
	for _, part := range []func(context.Context) error{h.conflicts, h.quota, h.webhooks, h.immutables, h.ending} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	if h.size.Foreign+h.size.Large == 0 {
		return nil
	}
	return CreateSecrets(ctx, h.admin, Crowd, h.size.Foreign, h.size.Large)
}

// Close stops the webhook.
func (h *Hardship) Close() {
	close(h.closing)
	h.webhook.Close()
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
func (h *Hardship) createKeys(ctx context.Context, namespace string, change func(*v1alpha1.DGbotAPIKey)) error {
	return each(ctx, h.size.Blocked, func(ctx context.Context, i int) error {
		key := Key(namespace, blockedName(i))
		if change != nil {
			change(key)
		}
		return h.admin.Create(ctx, key)
	})
}

func (h *Hardship) conflicts(ctx context.Context) error {
	if err := h.admin.Create(ctx, Key(Taken, Winner)); err != nil {
		return err
	}
	if err := testenv.AwaitReady(ctx, h.admin, within, Taken, Winner); err != nil {
		return err
	}
	return each(ctx, h.size.Conflicts, func(ctx context.Context, i int) error {
		key := Key(Taken, blockedName(i))
		if i%2 == 0 {
			key.Spec.Secret = &v1alpha1.SecretSpec{Name: Winner}
			return h.admin.Create(ctx, key)
		}
		theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Taken, Name: key.Name}}
		if err := h.admin.Create(ctx, theirs); err != nil {
			return err
		}
		return h.admin.Create(ctx, key)
	})
}

func (h *Hardship) quota(ctx context.Context) error {
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: Full, Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"secrets": resource.MustParse("0")}},
	}
	if err := h.admin.Create(ctx, quota); err != nil {
		return err
	}
	return h.createKeys(ctx, Full, nil)
}

func (h *Hardship) webhooks(ctx context.Context) error {
	fail, none, timeout := admissionv1.Fail, admissionv1.SideEffectClassNone, int32(30)
	configuration := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "starvation"}}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.webhook.Certificate().Raw})
	for _, namespace := range []string{Refusing, Hanging} {
		url := h.webhook.URL + "/" + namespace
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
	if err := h.admin.Create(ctx, configuration); err != nil {
		return err
	}
	if err := h.awaitRefusals(ctx); err != nil {
		return err
	}
	for _, namespace := range []string{Refusing, Hanging} {
		if err := h.createKeys(ctx, namespace, nil); err != nil {
			return err
		}
	}
	return nil
}

// awaitRefusals waits until the API server has heard of the webhooks.
func (h *Hardship) awaitRefusals(ctx context.Context) error {
	return poll(ctx, "the webhook is asked", func(ctx context.Context) (bool, error) {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Refusing, Name: "probe"}}
		return h.admin.Create(ctx, probe, client.DryRunAll) != nil, nil
	})
}

func (h *Hardship) startWebhook() {
	var refusals atomic.Int64
	h.webhook = httptest.NewUnstartedServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
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
		case <-h.closing:
		}
	}))
	h.webhook.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.webhook.StartTLS()
}

func (h *Hardship) immutables(ctx context.Context) error {
	if err := h.createKeys(ctx, Immutable, nil); err != nil {
		return err
	}
	return each(ctx, h.size.Blocked, func(ctx context.Context, i int) error {
		if err := testenv.AwaitReady(ctx, h.admin, within, Immutable, blockedName(i)); err != nil {
			return err
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: Immutable, Name: blockedName(i)}}
		if err := h.admin.Patch(ctx, secret, merge(`{"immutable":true}`)); err != nil {
			return err
		}
		request := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RotateRequestedAtAnnotation, time.Now().UTC().Format(time.RFC3339))
		return h.admin.Patch(ctx, Key(Immutable, blockedName(i)), merge(request))
	})
}

// ending deletes a namespace that something keeps from ending, and with it keys that something else keeps.
func (h *Hardship) ending(ctx context.Context) error {
	const hold = "starvation.dgbot.io/hold"
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: Ending, Name: "held", Finalizers: []string{hold}}}
	if err := h.admin.Create(ctx, held); err != nil {
		return err
	}
	if err := h.createKeys(ctx, Ending, func(key *v1alpha1.DGbotAPIKey) { key.Finalizers = []string{hold} }); err != nil {
		return err
	}
	return h.admin.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Ending}})
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
