// SPDX-License-Identifier: Apache-2.0

package caching

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// server is an API server with one kind, whose history a test replaces.
type server struct {
	streams bool

	mutex   sync.Mutex
	version string
	objects []*v1alpha1.DGbotAPIKey
	watches []*watch.RaceFreeFakeWatcher
	// refusal is the error of every request, if any.
	refusal error
	// asked are the requests: "list" or "watch" with the resourceVersion.
	asked []string
}

func objectAt(name, uid, version string) *v1alpha1.DGbotAPIKey {
	return &v1alpha1.DGbotAPIKey{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: name, UID: types.UID(uid), ResourceVersion: version}}
}

func (s *server) set(version string, objects ...*v1alpha1.DGbotAPIKey) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.version, s.objects = version, objects
}

func (s *server) refuse(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.refusal = err
}

func (s *server) requests() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]string{}, s.asked...)
}

// fail sends an error on all watches.
func (s *server) fail() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, stream := range s.watches {
		stream.Error(&apierrors.NewInternalError(io.ErrUnexpectedEOF).ErrStatus)
	}
}

// breakOff ends all watches.
func (s *server) breakOff() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, stream := range s.watches {
		stream.Stop()
	}
	s.watches = nil
}

func (s *server) source() toolscache.ListerWatcher {
	return &toolscache.ListWatch{ListWithContextFunc: s.list, WatchFuncWithContext: s.watch}
}

func (s *server) list(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.asked = append(s.asked, "list "+options.ResourceVersion)
	if s.refusal != nil {
		return nil, s.refusal
	}
	list := &v1alpha1.DGbotAPIKeyList{ListMeta: metav1.ListMeta{ResourceVersion: s.version}}
	for _, object := range s.objects {
		list.Items = append(list.Items, *object)
	}
	return list, nil
}

func (s *server) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	lists := options.SendInitialEvents != nil
	if lists && !s.streams {
		return nil, apierrors.NewInvalid(schema.GroupKind{}, "", nil)
	}
	s.asked = append(s.asked, map[bool]string{true: "list ", false: "watch "}[lists]+options.ResourceVersion)
	if s.refusal != nil {
		return nil, s.refusal
	}
	stream := watch.NewRaceFreeFake()
	if lists {
		for _, object := range s.objects {
			stream.Add(object.DeepCopy())
		}
		bookmark := objectAt("", "", s.version)
		bookmark.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		stream.Action(watch.Bookmark, bookmark)
	}
	s.watches = append(s.watches, stream)
	go func() {
		select {
		case <-time.After(time.Duration(*options.TimeoutSeconds) * time.Second):
		case <-ctx.Done():
		}
		stream.Stop()
	}()
	return stream, nil
}

// withInformer runs an informer of a history against a server, in a bubble in which hours pass at once. The server has two
// objects.
func withInformer(t *testing.T, test func(t *testing.T, s *server, h *history, informer toolscache.SharedIndexInformer)) {
	t.Helper()
	scheme := testScheme(t)
	for _, streams := range []bool{true, false} {
		t.Run(fmt.Sprintf("streamed lists %t", streams), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{streams: streams}
				s.set("20", objectAt("kept", "1", "10"), objectAt("gone", "2", "11"))
				h := newHistory(scheme)
				informer := (&Caches{scheme: scheme, history: h}).newInformer(s.source(), &v1alpha1.DGbotAPIKey{}, 0, toolscache.Indexers{})
				// The default handler waits by a time that all bubbles share.
				if err := informer.SetWatchErrorHandlerWithContext(func(context.Context, *toolscache.Reflector, error) {}); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { informer.RunWithContext(ctx) })
				time.Sleep(time.Second)
				test(t, s, h, informer)
				cancel()
				running.Wait()
			})
		})
	}
}

// proof returns the error that ends the manager; nil for none.
func proof(h *history) error {
	select {
	case err := <-h.replaced:
		return err
	default:
		return nil
	}
}

func keysIn(informer toolscache.SharedIndexInformer) string {
	keys := informer.GetIndexer().ListKeys()
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

// TestHistory_ListsAfterALostConnection where the server has passed the versions of before: nothing but a complete list
// shows what changed. In each case the connection is lost in another way.
func TestHistory_ListsAfterALostConnection(t *testing.T) {
	for name, lose := range map[string]func(s *server){
		"broken":  func(s *server) { s.breakOff() },
		"refused": func(s *server) { s.refuse(syscall.ECONNREFUSED); s.breakOff(); time.Sleep(time.Minute); s.refuse(nil) },
		"refused between two watches": func(s *server) {
			s.refuse(syscall.ECONNREFUSED)
			time.Sleep(time.Hour)
			s.refuse(nil)
		},
		"EOF": func(s *server) { s.refuse(io.EOF); s.breakOff(); time.Sleep(time.Minute); s.refuse(nil) },
		"unavailable": func(s *server) {
			s.refuse(apierrors.NewServiceUnavailable("no"))
			s.breakOff()
			time.Sleep(time.Minute)
			s.refuse(nil)
		},
		"too many": func(s *server) {
			s.refuse(apierrors.NewTooManyRequests("no", 1))
			s.breakOff()
			time.Sleep(time.Minute)
			s.refuse(nil)
		},
		"error as event": func(s *server) { s.fail(); s.breakOff() },
	} {
		t.Run(name, func(t *testing.T) {
			withInformer(t, func(t *testing.T, s *server, h *history, informer toolscache.SharedIndexInformer) {
				if got := keysIn(informer); got != "support/gone support/kept" {
					t.Fatalf("at first: %s", got)
				}
				s.set("30", objectAt("kept", "1", "10"), objectAt("new", "3", "12"))
				lose(s)
				time.Sleep(2 * time.Minute)
				if got := keysIn(informer); got != "support/kept support/new" {
					t.Errorf("afterwards: %s; asked: %q", got, s.requests())
				}
				if err := proof(h); err != nil {
					t.Errorf("without a proof: %v", err)
				}
			})
		})
	}
}

// TestHistory_WatchesOnAfterAWatchThatEndedOnTime: an idle informer lists once.
func TestHistory_WatchesOnAfterAWatchThatEndedOnTime(t *testing.T) {
	withInformer(t, func(t *testing.T, s *server, h *history, _ toolscache.SharedIndexInformer) {
		time.Sleep(24 * time.Hour)
		lists := 0
		for _, request := range s.requests() {
			if strings.HasPrefix(request, "list") {
				lists++
			} else if request != "watch 20" {
				t.Errorf("%s", request)
			}
		}
		if lists != 1 || proof(h) != nil {
			t.Errorf("%d lists: %q", lists, s.requests())
		}
	})
}

// TestHistory_ListsAFlappingServerAtABoundedRate: the informer's back-off bounds it.
func TestHistory_ListsAFlappingServerAtABoundedRate(t *testing.T) {
	withInformer(t, func(t *testing.T, s *server, _ *history, _ toolscache.SharedIndexInformer) {
		for range 3600 {
			s.breakOff()
			time.Sleep(time.Second)
		}
		if n := len(s.requests()); n > 600 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

// TestHistory_EndsTheManagerWhereAListIsOlder than what the informer has read.
func TestHistory_EndsTheManagerWhereAListIsOlder(t *testing.T) {
	for name, tc := range map[string]struct {
		version string
		objects []*v1alpha1.DGbotAPIKey
		want    string
	}{
		"a lower version of the list":            {"19", []*v1alpha1.DGbotAPIKey{objectAt("kept", "1", "10")}, "a list of DGbotAPIKey objects has resourceVersion 19 and the cache held 20"},
		"a lower version of an object":           {"30", []*v1alpha1.DGbotAPIKey{objectAt("kept", "1", "9")}, "DGbotAPIKey support/kept has resourceVersion 9 and the cache held 10"},
		"versions with other numbers of digits":  {"9", nil, "resourceVersion 9 and the cache held 20"},
		"the same":                               {"20", []*v1alpha1.DGbotAPIKey{objectAt("kept", "1", "10"), objectAt("gone", "2", "11")}, ""},
		"a lower version, of another uid":        {"30", []*v1alpha1.DGbotAPIKey{objectAt("kept", "4", "9")}, ""},
		"later versions with other digits":       {"100", []*v1alpha1.DGbotAPIKey{objectAt("kept", "1", "99")}, ""},
		"deleted":                                {"30", nil, ""},
		"versions that are no positive integers": {"x", []*v1alpha1.DGbotAPIKey{objectAt("kept", "1", "y")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			withInformer(t, func(t *testing.T, s *server, h *history, _ toolscache.SharedIndexInformer) {
				s.set(tc.version, tc.objects...)
				s.breakOff()
				time.Sleep(time.Minute)
				err := proof(h)
				if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%v, want %q", err, tc.want)
				}
			})
		})
	}
}

// TestHistory_StartReturnsTheProof, and nil when the manager ends for another reason.
func TestHistory_StartReturnsTheProof(t *testing.T) {
	h := newHistory(nil)
	_ = h.prove("x", "1", "2")
	_ = h.prove("y", "1", "2") // must not block
	if err := h.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "history was replaced") || !strings.Contains(err.Error(), "Deployment starts it again") {
		t.Errorf("%v", err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := h.Start(ended); err != nil || h.NeedLeaderElection() {
		t.Errorf("%v", err)
	}
}

// liveAnswers is a live reader with answers of a test's own.
type liveAnswers struct {
	get  func(object client.Object) error
	list func(list client.ObjectList)
}

func (l liveAnswers) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	return l.get(object)
}

func (l liveAnswers) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	l.list(list)
	return nil
}

// TestHistoryReader compares live reads with a cache that has read up to version 20, and holds an object at 10.
func TestHistoryReader(t *testing.T) {
	name := types.NamespacedName{Namespace: "support", Name: "kept"}
	answer := func(uid, version string) func(client.Object) error {
		return func(o client.Object) error {
			o.SetNamespace(name.Namespace)
			o.SetName(name.Name)
			o.SetUID(types.UID(uid))
			o.SetResourceVersion(version)
			return nil
		}
	}
	lists := func(version string, objects ...*v1alpha1.DGbotAPIKey) func(client.ObjectList) {
		return func(list client.ObjectList) {
			list.SetResourceVersion(version)
			if keys, ok := list.(*v1alpha1.DGbotAPIKeyList); ok {
				for _, object := range objects {
					keys.Items = append(keys.Items, *object)
				}
			}
		}
	}
	get := func(r client.Reader) error { return r.Get(t.Context(), name, &v1alpha1.DGbotAPIKey{}) }
	list := func(r client.Reader) error { return r.List(t.Context(), &v1alpha1.DGbotAPIKeyList{}) }
	for what, tc := range map[string]struct {
		live liveAnswers
		read func(client.Reader) error
		want bool
	}{
		"an object as in the cache":       {liveAnswers{get: answer("1", "10")}, get, false},
		"an object, newer":                {liveAnswers{get: answer("1", "11")}, get, false},
		"an object, older":                {liveAnswers{get: answer("1", "9")}, get, true},
		"an object, older, created again": {liveAnswers{get: answer("2", "9")}, get, false},
		"an object without version":       {liveAnswers{get: answer("1", "")}, get, false},
		"an object that no cache holds": {liveAnswers{get: answer("1", "9")}, func(r client.Reader) error {
			return r.Get(t.Context(), types.NamespacedName{Name: "x"}, &v1alpha1.DGbotAPIKey{})
		}, false},
		"metadata of the object, older": {liveAnswers{get: answer("1", "9")}, getMetadata(t, name), true},
		"an object of another kind":     {liveAnswers{get: answer("1", "9")}, func(r client.Reader) error { return r.Get(t.Context(), name, &v1alpha1.DGbotChatbot{}) }, false},
		"a list as new":                 {liveAnswers{list: lists("20", objectAt("kept", "1", "10"))}, list, false},
		"a list, newer":                 {liveAnswers{list: lists("21")}, list, false},
		"a list, older":                 {liveAnswers{list: lists("19")}, list, true},
		"a further page of a list": {liveAnswers{list: lists("19")}, func(r client.Reader) error {
			return r.List(t.Context(), &v1alpha1.DGbotAPIKeyList{}, client.Continue("x"))
		}, false},
		"a list without version":             {liveAnswers{list: lists("")}, list, false},
		"an item, older":                     {liveAnswers{get: answer("1", "9"), list: lists("30", objectAt("kept", "1", "9"))}, list, true},
		"an item that changed after":         {liveAnswers{get: answer("1", "10"), list: lists("30", objectAt("kept", "1", "9"))}, list, false},
		"an item that was deleted after":     {liveAnswers{get: func(client.Object) error { return apierrors.NewNotFound(schema.GroupResource{}, "") }, list: lists("30", objectAt("kept", "1", "9"))}, list, false},
		"an item that may not be read alone": {liveAnswers{get: func(client.Object) error { return errors.New("forbidden") }, list: lists("30", objectAt("kept", "1", "9"))}, list, false},
		"an item of another uid":             {liveAnswers{list: lists("30", objectAt("kept", "2", "9"))}, list, false},
	} {
		t.Run(what, func(t *testing.T) {
			scheme := testScheme(t)
			h := newHistory(scheme)
			informer := (&Caches{scheme: scheme, history: h}).newInformer((&server{}).source(), &v1alpha1.DGbotAPIKey{}, 0, toolscache.Indexers{})
			if err := informer.GetIndexer().Add(objectAt("kept", "1", "10")); err != nil {
				t.Fatal(err)
			}
			h.readsOf(v1alpha1.GroupVersion.WithKind("DGbotAPIKey").GroupKind())[0].complete("20")
			err := tc.read(h.reader(tc.live))
			if ends := proof(h); (err != nil) != tc.want || (ends != nil) != tc.want {
				t.Errorf("error %v, end %v", err, ends)
			}
		})
	}
}

func getMetadata(t *testing.T, name types.NamespacedName) func(client.Reader) error {
	return func(r client.Reader) error {
		metadata := &metav1.PartialObjectMetadata{}
		metadata.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("DGbotAPIKey"))
		return r.Get(t.Context(), name, metadata)
	}
}
