// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	"dgbot.io/key-operator/api/v1alpha1"
)

// followed are the keys that an informer has. It is safe for concurrent use.
type followed struct {
	informer cache.SharedInformer
	mutex    sync.Mutex
	// change is closed at the next change, and then replaced.
	change chan struct{}
	// failed is the last error of the list or the watch, and at the version up to which the keys were known then. It is over once they are known
	// up to another one: a list without keys is no event.
	failed error
	at     string
}

// follow prepares an informer, which the caller then runs.
func follow(informer cache.SharedInformer) (*followed, error) {
	f := &followed{informer: informer, change: make(chan struct{})}
	err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		// The API server ends each watch after its time, and forgets old versions. The informer goes on by itself.
		if errors.Is(err, io.EOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			return
		}
		if answer := (*apierrors.StatusError)(nil); errors.As(err, &answer) {
			err = answer // without the Go type that the informer names
		}
		f.note(err)
	})
	if err != nil {
		return nil, err
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { f.note(nil) },
		UpdateFunc: func(any, any) { f.note(nil) },
		DeleteFunc: func(any) { f.note(nil) },
	})
	return f, err
}

// note wakes those that wait for a change.
func (f *followed) note(failed error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.failed, f.at = failed, f.informer.LastSyncResourceVersion()
	close(f.change)
	f.change = make(chan struct{})
}

// changed returns a channel that is closed at the next change.
func (f *followed) changed() <-chan struct{} {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.change
}

// failure returns why the keys cannot be read at present; nil while they can, or if that is not known yet.
func (f *followed) failure() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.at != f.informer.LastSyncResourceVersion() {
		return nil
	}
	return f.failed
}

// list returns the keys in any order. They belong to the informer, and must not be changed.
func (f *followed) list() []*v1alpha1.DGbotAPIKey {
	objects := f.informer.GetStore().List()
	keys := make([]*v1alpha1.DGbotAPIKey, 0, len(objects))
	for _, object := range objects {
		if key, ok := object.(*v1alpha1.DGbotAPIKey); ok {
			keys = append(keys, key)
		}
	}
	return keys
}
