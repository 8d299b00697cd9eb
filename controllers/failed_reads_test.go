// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/apikeys"
	"dgbot.io/key-operator/controllers/internal/write"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// errUndecryptable is the API server's answer for an object whose encryption it cannot undo.
var errUndecryptable = apierrors.NewInternalError(errors.New("unable to transform the object: KMS is down"))

// readOf reports whether a read of an object, or of a list, is one that a test lets fail. The name is empty for a list.
type readOf func(object runtime.Object, name client.ObjectKey) bool

// unreadable is a client of which some reads fail. Its writes are counted.
func unreadable(answer error, fails readOf) (client.WithWatch, *faults) {
	count := &faults{}
	return failingWith(answer, count.wrap(live), fails), count
}

// failingReads is a client of which some reads fail.
func failingReads(base client.Client, fails readOf) client.WithWatch {
	return failingWith(errUndecryptable, base, fails)
}

func failingWith(answer error, base client.Client, fails readOf) client.WithWatch {
	return interceptor.NewClient(base.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if fails(o, name) {
				return answer
			}
			return c.Get(ctx, name, o, options...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if fails(list, client.ObjectKey{}) {
				return answer
			}
			return c.List(ctx, list, options...)
		},
	})
}

// failingOperator returns an operator whose live reads fail, and unless the cache knows the objects the cached ones as well.
func (w *fixture) failingOperator(answer error, fails readOf, cached bool) (*apikeys.Reconciler, *faults) {
	reads, count := unreadable(answer, fails)
	operator := w.operator(reads)
	operator.Live = reads
	if cached {
		operator.Client, count = unreadable(nil, func(runtime.Object, client.ObjectKey) bool { return false })
	}
	return operator, count
}

func isSecret(o runtime.Object) bool {
	_, typed := o.(*corev1.Secret)
	metadata, ok := o.(*metav1.PartialObjectMetadata)
	return typed || ok && metadata.Kind == "Secret"
}

// anyOf is a read of a kind.
func anyOf[T runtime.Object]() readOf {
	return func(o runtime.Object, _ client.ObjectKey) bool { _, ok := o.(T); return ok }
}

// listOfRecords names one of keyReads.
const listOfRecords = "the list of records"

// keyReads are the reads that an observation of a key makes, beside that of the key itself.
var keyReads = map[string]struct {
	fails readOf
	// prepare makes the observation read it.
	prepare func(*fixture)
	// named is how the condition names it.
	named string
	// cached: the cache knows what the API server does not answer.
	cached bool
}{
	"the Secret":         {fails: func(o runtime.Object, _ client.ObjectKey) bool { return isSecret(o) }, named: `Secret "production-server"`},
	"the Secret's bytes": {fails: anyOf[*corev1.Secret](), named: `Secret "production-server"`},
	listOfRecords:        {fails: anyOf[*v1alpha1.DGbotAPIKeyRecordList](), named: `records of DGbotAPIKey "production-server"`, cached: true},
	"the Lease":          {fails: anyOf[*coordinationv1.Lease](), named: "Lease "},
	"the chatbot":        {fails: anyOf[*v1alpha1.DGbotChatbot](), named: `DGbotChatbot "support-bot"`},
	"the reservation": {
		fails:   anyOf[*corev1.ConfigMap](),
		prepare: func(w *fixture) { w.deleteBot(botName) },
		named:   "ConfigMap " + v1alpha1.IdentityNamespace + "/chatbot-",
	},
	"the environment":   {fails: anyOf[*v1alpha1.DGbotEnvironment](), named: "DGbotEnvironment "},
	"the namespace":     {fails: anyOfMetadata("Namespace"), named: "Namespace "},
	"the count of keys": {fails: anyOf[*v1alpha1.DGbotAPIKeyList](), named: "DGbotAPIKeys of environment "},
	"the owner of a Secret": {
		fails: func(o runtime.Object, _ client.ObjectKey) bool {
			metadata, ok := o.(*metav1.PartialObjectMetadata)
			return ok && metadata.Kind == v1alpha1.APIKeyKind
		},
		prepare: func(w *fixture) {
			w.editSecret(func(s *corev1.Secret) {
				s.OwnerReferences, s.Labels[v1alpha1.APIKeyLabel] = nil, "another"
			})
		},
		named: "DGbotAPIKey with uid another",
	},
}

func anyOfMetadata(kind string) readOf {
	return func(o runtime.Object, _ client.ObjectKey) bool {
		metadata, ok := o.(*metav1.PartialObjectMetadata)
		return ok && metadata.Kind == kind
	}
}

// issuedEverywhere creates a key that depends on everything a key can depend on, and has it issued.
func (w *fixture) issuedEverywhere() {
	w.T.Helper()
	limit := int32(5)
	env := w.environment(func(s *v1alpha1.DGbotEnvironmentSpec) {
		s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.Name}}
		s.MaxKeysPerNamespace = &limit
		s.Audit = &v1alpha1.EnvironmentAudit{UnusedAfter: &metav1.Duration{Duration: 2160 * time.Hour}}
	})
	w.createBot(botName, func(b *v1alpha1.DGbotChatbot) { b.Spec.Environment = env })
	w.restBots(live, botName)
	w.create(func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Environment, k.Spec.ChatbotRef = env, &v1alpha1.ChatbotReference{Name: botName}
	})
	w.advance(time.Minute) // until all keys of its second are counted
	w.rest()
	if w.verifies() != standing.Admitted {
		w.T.Fatalf("the key is %s: %s", w.verifies(), w.ready().Message)
	}
	w.advance(time.Minute)
}

// TestObserve_EveryReadFails: what only takes away is done without it, the condition names it, retries write nothing, and the key
// goes on by itself once it can be read.
func TestObserve_EveryReadFails(t *testing.T) {
	answers := map[string]error{
		"forbidden": apierrors.NewForbidden(schema.GroupResource{Resource: "things"}, "x", errors.New("no such right")),
		"KMS":       apierrors.NewInternalError(errors.New("unable to transform key: KMS is down")),
	}
	asks := map[string]func(*fixture, *v1alpha1.DGbotAPIKey){
		"Revoked":            func(_ *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked },
		"Disabled":           func(_ *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled },
		"revokeIssuedBefore": func(w *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RevokeIssuedBefore = w.second() },
		"annotation": func(w *fixture, k *v1alpha1.DGbotAPIKey) {
			k.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: w.second().UTC().Format(time.RFC3339)}
		},
		"expiresAt": func(w *fixture, k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = w.second() },
	}
	for name, read := range keyReads {
		for kind, answer := range answers {
			for ask, change := range asks {
				if kind == "KMS" && ask != "revokeIssuedBefore" {
					continue
				}
				t.Run(strings.Join([]string{name, kind, ask}, ", "), func(t *testing.T) {
					t.Parallel()
					w := newFixture(t)
					w.issuedEverywhere()
					if read.prepare != nil {
						read.prepare(w)
					}
					keyID := w.key().Status.Current.KeyID
					w.edit(func(k *v1alpha1.DGbotAPIKey) { change(w, k) })
					operator, count := w.failingOperator(answer, read.fails, read.cached)
					w.restWith(operator)
					replaced := ask == "revokeIssuedBefore" || ask == "annotation"
					replacedAtOnce := replaced && name == listOfRecords // a key is replaced without a list, before it is revoked
					records, want := w.records(), map[bool]int{false: 1, true: 2}[replacedAtOnce]
					if len(records) != want || standing.Admit(w.first(), w.clock.Now()) == standing.Admitted {
						t.Errorf("%d records, want %d; the first is %+v", len(records), want, w.first())
					}
					w.stalled(v1alpha1.ObservationFailedReason, read.named)
					if message := w.ready().Message; !strings.Contains(message, "cannot be read: ") || !strings.Contains(message, answer.(apierrors.APIStatus).Status().Message) {
						t.Errorf("the message does not name the answer: %s", message)
					}
					if current := w.key().Status.Current; current == nil || (current.KeyID != keyID) != replacedAtOnce {
						t.Errorf("status.current is %+v", current)
					}
					writes := count.writes
					for range 3 {
						w.advance(2 * time.Minute)
						w.restWith(operator)
					}
					if count.writes != writes {
						t.Errorf("%d writes by retries, at %v", count.writes-writes, count.sites)
					}
					w.rest()
					if reason := w.ready().Reason; reason == v1alpha1.ObservationFailedReason {
						t.Errorf("the condition stays once everything can be read: %s", w.ready().Message)
					}
					if verifies := w.verifies() == standing.Admitted; verifies != replaced {
						t.Errorf("the key in the Secret is %s", w.verifies())
					}
				})
			}
		}
	}
}

// TestObserve_NothingIsGrantedWithoutARead: with a read that fails nothing is issued, published, repaired or enabled.
func TestObserve_NothingIsGrantedWithoutARead(t *testing.T) {
	answer := apierrors.NewInternalError(errors.New("KMS is down"))
	for name, read := range keyReads {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			w.issuedEverywhere()
			if read.prepare != nil {
				read.prepare(w)
			}
			w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
			w.restWith(mustOperator(w.failingOperator(answer, read.fails, read.cached)))
			w.edit(func(k *v1alpha1.DGbotAPIKey) {
				k.Spec.State, k.Spec.Label, k.Spec.Rotation.RequestedAt = v1alpha1.StateActive, "Another label", w.second()
				k.Spec.Scopes = append(k.Spec.Scopes, "conversations.write")
			})
			version := w.secret().ResourceVersion
			operator, count := w.failingOperator(answer, read.fails, read.cached)
			w.restWith(operator)
			records := w.records()
			if len(records) != 1 || records[0].Spec.State != v1alpha1.StateDisabled || len(records[0].Spec.Scopes) != 1 || records[0].Spec.Label != "Production server" {
				t.Errorf("the records are %+v", records)
			}
			if w.secret().ResourceVersion != version {
				t.Error("the Secret was written")
			}
			if count.writes > 1 {
				t.Errorf("%d writes, want the status alone: %v", count.writes, count.sites)
			}
			w.rest()
			if w.verifies() != standing.Admitted || len(w.records()) != 2 {
				t.Errorf("the key in the Secret is %s, with %d records: %s", w.verifies(), len(w.records()), w.ready().Message)
			}
		})
	}
}

func mustOperator(operator *apikeys.Reconciler, _ *faults) *apikeys.Reconciler { return operator }

// TestObserve_ANewKeyWaitsForItsReads: it is issued once they succeed, and not before.
func TestObserve_ANewKeyWaitsForItsReads(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	operator, _ := w.failingOperator(apierrors.NewInternalError(errors.New("KMS is down")), anyOf[*corev1.Secret](), false)
	w.restWith(operator)
	w.stalled(v1alpha1.ObservationFailedReason, "KMS is down")
	w.nothingMinted()
	w.rest()
	if w.verifies() != standing.Admitted {
		t.Errorf("the key is %s", w.verifies())
	}
}

// TestObserve_DeletionNeedsNoOtherRead: all records are revoked, whatever finalizers others hold.
func TestObserve_DeletionNeedsNoOtherRead(t *testing.T) {
	w := newFixture(t)
	w.create(func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = []string{"example.com/held"} })
	w.rest()
	if err := live.Delete(t.Context(), w.key()); err != nil {
		t.Fatal(err)
	}
	operator, _ := w.failingOperator(errUndecryptable, func(o runtime.Object, _ client.ObjectKey) bool {
		_, key := o.(*v1alpha1.DGbotAPIKey)
		return !key
	}, false)
	reads, _ := unreadable(errUndecryptable, anyOf[*corev1.Secret]())
	operator.Client = reads // the cache knows the records
	w.restWith(operator)
	if state := w.first().Spec.State; state != v1alpha1.StateRevoked {
		t.Errorf("the record is %s", state)
	}
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Finalizers = nil })
}

// TestObserve_ADroppedConnectionIsRetriedFirst: what is taken away does not wait, and the condition comes only where it lasts.
func TestObserve_ADroppedConnectionIsRetriedFirst(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	port := 40000
	reads := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, ok := o.(*corev1.Secret); ok {
				port++ // the local one is another each time
				return fmt.Errorf("get: %w", &net.OpError{
					Op: "read", Net: "tcp", Err: errors.New("connection reset by peer"),
					Source: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6443},
				})
			}
			return c.Get(ctx, name, o, options...)
		},
	})
	operator := w.operator(reads)
	operator.Live = reads
	for turn := range write.MaxTransientReads {
		if _, err := operator.Reconcile(t.Context(), w.request()); err == nil {
			t.Fatalf("turn %d is not retried", turn)
		}
		if w.ready().Reason == v1alpha1.ObservationFailedReason || w.verifies() == standing.Admitted {
			t.Fatalf("turn %d: %s, the key is %s", turn, w.ready().Reason, w.verifies())
		}
	}
	w.restWith(operator)
	w.stalled(v1alpha1.ObservationFailedReason, "read 127.0.0.1:6443: connection reset by peer")
	version := w.key().ResourceVersion
	w.restWith(operator)
	if w.key().ResourceVersion != version {
		t.Error("a retry that fails in the same way writes the status")
	}
}

// TestObserve_AReadWithoutAnAnswerIsBounded: a KMS that does not answer must not hold up a revocation.
func TestObserve_AReadWithoutAnAnswerIsBounded(t *testing.T) {
	w := newFixture(t)
	w.create(nil)
	w.rest()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	reads := interceptor.NewClient(live, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if _, ok := o.(*corev1.Secret); !ok {
				return c.Get(ctx, name, o, options...)
			}
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the read has no deadline")
			}
			return context.DeadlineExceeded // as if the time were over
		},
	})
	operator := w.operator(reads)
	operator.Live = reads
	if _, err := operator.Reconcile(t.Context(), w.request()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the read is not retried: %v", err)
	}
	if w.verifies() == standing.Admitted {
		t.Error("the key is not revoked")
	}
}

// TestObserve_ADifferentlyWordedAnswerWritesNothing: a KMS may put another request ID into each of its answers.
func TestObserve_ADifferentlyWordedAnswerWritesNothing(t *testing.T) {
	w := newFixture(t)
	w.issuedEverywhere()
	w.edit(func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	request := 0
	count := &faults{}
	reads := interceptor.NewClient(count.wrap(live), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if isSecret(o) {
				request++
				return apierrors.NewInternalError(fmt.Errorf("unable to transform key: KMS is down, request %d", request))
			}
			return c.Get(ctx, name, o, options...)
		},
	})
	operator := w.operator(reads)
	operator.Live = reads
	w.restWith(operator)
	w.stalled(v1alpha1.ObservationFailedReason, "KMS is down, request ")
	writes := count.writes
	for range 2 {
		w.advance(2 * time.Minute)
		w.restWith(operator)
	}
	if count.writes != writes {
		t.Errorf("%d writes by retries, at %v: %s", count.writes-writes, count.sites, w.ready().Message)
	}
}
