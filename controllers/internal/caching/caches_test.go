// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"

	"dgbot.io/key-operator/api/v1alpha1"
)

var (
	errDecrypt = apierrors.NewInternalError(errors.New(`unable to transform key "/registry/secrets/support/crm": KMS is down`))
	errNoRight = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "", errors.New("no"))
)

// cacheWorld is an informer as the manager makes them, in a bubble in which hours pass at once. A test decides what its API server
// answers.
type cacheWorld struct {
	*server
	caches   *Caches
	informer toolscache.SharedIndexInformer
	handler  toolscache.ResourceEventHandlerRegistration

	answers sync.Mutex
	// intercept is called with each request; its error is the answer. The context is the request's.
	intercept func(ctx context.Context, kind string) error
}

func (w *cacheWorld) answer(intercept func(ctx context.Context, kind string) error) {
	w.answers.Lock()
	defer w.answers.Unlock()
	w.intercept = intercept
}

func (w *cacheWorld) ask(ctx context.Context, kind string) error {
	w.answers.Lock()
	intercept := w.intercept
	w.answers.Unlock()
	if intercept == nil {
		return nil
	}
	return intercept(ctx, kind)
}

func (w *cacheWorld) state() *cacheState { return w.caches.states[0] }

func (w *cacheWorld) check() error { return w.caches.check(w.state().kind.GroupKind()) }

// inCacheWorld runs a test with an informer of DGbotAPIKeys whose server has one object.
func inCacheWorld(t *testing.T, streams bool, intercept func(ctx context.Context, kind string) error, test func(t *testing.T, w *cacheWorld)) {
	t.Helper()
	scheme := testScheme(t)
	synctest.Test(t, func(t *testing.T) {
		w := &cacheWorld{server: &server{streams: streams}, intercept: intercept}
		w.set("20", objectAt("crm", "1", "10"))
		w.caches = &Caches{scheme: scheme, history: newHistory(scheme)}
		source := &toolscache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				if err := w.ask(ctx, "list"); err != nil {
					return nil, err
				}
				return w.list(ctx, options)
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				kind := "watch"
				if options.SendInitialEvents != nil {
					kind = "stream"
				}
				if err := w.ask(ctx, kind); err != nil {
					return nil, err
				}
				return w.watch(ctx, options)
			},
		}
		w.informer = w.caches.newInformer(source, &v1alpha1.DGbotAPIKey{}, 0, toolscache.Indexers{})
		// The default handler waits by a time that all bubbles share.
		if err := w.informer.SetWatchErrorHandlerWithContext(func(context.Context, *toolscache.Reflector, error) {}); err != nil {
			t.Fatal(err)
		}
		var err error
		if w.handler, err = w.informer.AddEventHandlerWithOptions(toolscache.ResourceEventHandlerFuncs{}, toolscache.HandlerOptions{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.informer.RunWithContext(ctx) })
		test(t, w)
		cancel()
		running.Wait()
	})
}

func hangs(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// retried answers as client-go does for an API server that answers 429 with Retry-After: 1, which client-go repeats ten times.
func retried(ctx context.Context, kind string) error {
	select {
	case <-time.After(10 * time.Second):
		return apierrors.NewTooManyRequests("storage is (re)initializing", 1)
	case <-ctx.Done():
		return hangs(ctx, kind)
	}
}

// firstAnswers are the ways in which the first list of a cache fails.
var firstAnswers = map[string]func(ctx context.Context, kind string) error{
	"403":                func(context.Context, string) error { return errNoRight },
	"500":                func(context.Context, string) error { return errDecrypt },
	"429":                func(context.Context, string) error { return apierrors.NewTooManyRequests("too many", 1) },
	"429 repeated":       retried,
	"connection refused": func(context.Context, string) error { return syscall.ECONNREFUSED },
	"hangs":              hangs,
	"stream hangs, list is refused": func(ctx context.Context, kind string) error {
		if kind == "stream" {
			return hangs(ctx, kind)
		}
		return errDecrypt
	},
}

// TestCaches_ControllersStartWithoutACache: whatever the first list is answered with, the informer and its handlers count as synced
// within 3 s, and /readyz names the resource. Once the list succeeds the cache is filled without a restart.
func TestCaches_ControllersStartWithoutACache(t *testing.T) {
	for name, answer := range firstAnswers {
		for _, streams := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, streamed lists %t", name, streams), func(t *testing.T) {
				inCacheWorld(t, streams, answer, func(t *testing.T, w *cacheWorld) {
					time.Sleep(3 * time.Second)
					if !w.informer.HasSynced() || !w.handler.HasSynced() {
						t.Error("controllers wait for the cache")
					}
					if w.state().filled() {
						t.Error("the cache counts as filled")
					}
					if err := w.check(); err == nil || !strings.Contains(err.Error(), "dgbotapikeys cannot be cached") {
						t.Errorf("the readiness check answers %v", err)
					}
					w.answer(nil)
					time.Sleep(3 * time.Minute)
					if !w.state().filled() || keysIn(w.informer) != "support/crm" || !w.handler.HasSynced() {
						t.Errorf("the cache holds %q", keysIn(w.informer))
					}
					if err := w.check(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestCaches_ALongFirstListGoesOn: controllers do not wait for a list that shows nothing, but the manager does not ask again either.
func TestCaches_ALongFirstListGoesOn(t *testing.T) {
	slow := func(ctx context.Context, kind string) error {
		if kind == "list" {
			time.Sleep(40 * time.Second)
		}
		return ctx.Err()
	}
	inCacheWorld(t, false, slow, func(t *testing.T, w *cacheWorld) {
		time.Sleep(39 * time.Second)
		if !w.informer.HasSynced() || w.state().filled() {
			t.Errorf("synced %t, filled %t", w.informer.HasSynced(), w.state().filled())
		}
		time.Sleep(2 * time.Second)
		if asked := strings.Join(w.requests(), ", "); !w.state().filled() || asked != "list 0, watch 20" {
			t.Errorf("filled %t; asked: %s", w.state().filled(), asked)
		}
	})
}

// TestCaches_AStreamedListThatGoesOnIsAwaited, as long as events arrive, up to a limit.
func TestCaches_AStreamedListThatGoesOnIsAwaited(t *testing.T) {
	for name, tc := range map[string]struct {
		events int
		start  time.Duration
	}{"complete after 20 s": {20, 20 * time.Second}, "endless": {1000, firstListTimeout}} {
		t.Run(name, func(t *testing.T) {
			inCacheWorld(t, true, hangs, func(t *testing.T, w *cacheWorld) {
				state := newCacheState(v1alpha1.GroupVersion.WithKind(v1alpha1.APIKeyKind), w.caches.history.clock, func() bool { return false })
				source := watch.NewFake()
				reads := &cacheReads{
					source:  toolscache.ToListerWatcherWithContext(&toolscache.ListWatch{WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return source, nil }}),
					clock:   w.caches.history.clock,
					history: w.caches.history.follow(state.kind.GroupKind(), w.informer), state: state,
				}
				stream, err := reads.WatchWithContext(t.Context(), metav1.ListOptions{SendInitialEvents: new(true)})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began, started := time.Now(), make(chan time.Duration, 1)
				go func() {
					state.awaitFirstList(ctx)
					started <- time.Since(began)
				}()
				for i := range tc.events {
					time.Sleep(time.Second)
					go source.Add(objectAt("crm", "1", strconv.Itoa(i+1)))
					<-stream.ResultChan()
					if state.failing() != nil {
						break
					}
				}
				if took := <-started; took < tc.start {
					t.Errorf("controllers start after %s, want %s", took, tc.start)
				}
				stream.Stop()
			})
		})
	}
}

// TestCaches_ARequestWithoutAnAnswerIsRepeated: a proxy that swallows one request does not keep the cache from being filled.
func TestCaches_ARequestWithoutAnAnswerIsRepeated(t *testing.T) {
	for _, swallowed := range []string{"stream", "list", "watch"} {
		t.Run(swallowed, func(t *testing.T) {
			once := false
			intercept := func(ctx context.Context, kind string) error {
				if kind == swallowed && !once {
					once = true
					return hangs(ctx, kind)
				}
				return nil
			}
			inCacheWorld(t, swallowed == "stream", intercept, func(t *testing.T, w *cacheWorld) {
				time.Sleep(3 * time.Minute)
				if err := w.check(); err != nil || !w.state().filled() || !once {
					t.Errorf("after 3 minutes: %v; asked: %q", err, w.requests())
				}
			})
		})
	}
}

// TestCaches_ReadinessOfAFilledCache: a dropped watch does not affect /readyz. A cache that is not watched for longer than
// maxOutdated does, whatever the reason is.
func TestCaches_ReadinessOfAFilledCache(t *testing.T) {
	for name, answer := range firstAnswers {
		if name == "stream hangs, list is refused" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			inCacheWorld(t, true, nil, func(t *testing.T, w *cacheWorld) {
				time.Sleep(time.Second)
				w.breakOff()
				time.Sleep(time.Second)
				if err := w.check(); err != nil {
					t.Errorf("after one dropped watch: %v", err)
				}
				time.Sleep(time.Minute)
				w.answer(answer)
				w.breakOff()
				time.Sleep(maxOutdated - time.Second)
				if err := w.check(); err != nil {
					t.Errorf("before %s: %v", maxOutdated, err)
				}
				time.Sleep(2 * time.Second)
				if err := w.check(); err == nil || !strings.Contains(err.Error(), "dgbotapikeys") || !strings.Contains(err.Error(), "out of date since") {
					t.Errorf("after %s: %v", maxOutdated, err)
				}
				if !w.state().filled() || keysIn(w.informer) != "support/crm" {
					t.Error("the cache is empty")
				}
				w.answer(nil)
				time.Sleep(3 * time.Minute)
				if err := w.check(); err != nil {
					t.Errorf("once it can be read: %v", err)
				}
			})
		})
	}
}

// TestCaches_ReadinessBeforeTheFirstList fails at once, also while nothing has failed yet.
func TestCaches_ReadinessBeforeTheFirstList(t *testing.T) {
	inCacheWorld(t, true, hangs, func(t *testing.T, w *cacheWorld) {
		time.Sleep(time.Second)
		if err := w.check(); err == nil || !strings.Contains(err.Error(), "dgbotapikeys cannot be cached yet") {
			t.Errorf("the readiness check answers %v", err)
		}
	})
}

// TestCaches_ReadinessOfAnIdleCache is not affected by watches that end on time.
func TestCaches_ReadinessOfAnIdleCache(t *testing.T) {
	inCacheWorld(t, true, nil, func(t *testing.T, w *cacheWorld) {
		for range 24 * 60 {
			time.Sleep(time.Minute)
			if err := w.check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestCacheStream_EndsWithItsConsumer: a bubble fails the test if a goroutine does not end. controller-runtime puts a watch.Filter
// around watches of metadata.
func TestCacheStream_EndsWithItsConsumer(t *testing.T) {
	for name, wrap := range map[string]func(watch.Interface) watch.Interface{
		"plain": func(w watch.Interface) watch.Interface { return w },
		"filtered": func(w watch.Interface) watch.Interface {
			return watch.Filter(w, func(e watch.Event) (watch.Event, bool) { return e, true })
		},
	} {
		for _, lists := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, streamed list %t", name, lists), func(t *testing.T) {
				inCacheWorld(t, true, nil, func(t *testing.T, w *cacheWorld) {
					source := watch.NewRaceFreeFake()
					reads := &cacheReads{
						source:  toolscache.ToListerWatcherWithContext(&toolscache.ListWatch{WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return wrap(source), nil }}),
						clock:   w.caches.history.clock,
						history: w.caches.history.follow(w.state().kind.GroupKind(), w.informer), state: w.state(),
					}
					stream, err := reads.WatchWithContext(t.Context(), metav1.ListOptions{SendInitialEvents: &lists})
					if err != nil {
						t.Fatal(err)
					}
					for i := range 3 {
						source.Add(objectAt("crm", "1", strconv.Itoa(30+i)))
					}
					<-stream.ResultChan()
					synctest.Wait()
					stream.Stop()
				})
			})
		}
	}
}

// TestCacheState_LogsTheResourceAndTheError: at once, again when asked to, and when the API server's answer arrives at last.
func TestCacheState_LogsTheResourceAndTheError(t *testing.T) {
	var lines []string
	ctx := ctrl.LoggerInto(t.Context(), funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{}))
	state := newCacheState(corev1.SchemeGroupVersion.WithKind("Secret"), newHistory(nil).clock, func() bool { return false })
	last := func(n int, texts ...string) {
		t.Helper()
		if len(lines) != n {
			t.Fatalf("%d lines, want %d: %q", len(lines), n, lines)
		}
		for _, text := range texts {
			if !strings.Contains(lines[n-1], text) {
				t.Errorf("the log lacks %q: %s", text, lines[n-1])
			}
		}
	}
	state.failed(ctx, errFirstListSlow)
	last(1, `"resource"="secrets"`, "the first list is not complete")
	for range 3 {
		state.failed(ctx, errDecrypt)
	}
	last(2, `"resource"="secrets"`, "KMS is down")
	state.logAgain(ctx)
	last(3, "KMS is down")
	state.watching(ctx)
	state.logAgain(ctx)
	last(4, "can be read again", "KMS is down")
}
