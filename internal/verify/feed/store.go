// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/verify/client"
)

// store is where a watcher puts the objects that it receives.
type store interface {
	// put stores an object of a generation of a watch. The error states why the object does not count.
	put(o runtime.Object, watch, generation int32) error
	remove(o runtime.Object)
	// sweep removes the objects of a watch that a generation does not contain.
	sweep(watch, generation int32)
}

// objects stores objects of one type.
type objects[T runtime.Object] interface {
	Put(object T, watch, generation int32) error
	Remove(object T)
	Sweep(watch, generation int32)
}

// typedStore is a store of objects of one type.
type typedStore[T runtime.Object] struct{ objects objects[T] }

func (s typedStore[T]) put(o runtime.Object, watch, generation int32) error {
	object, ok := o.(T)
	if !ok {
		return fmt.Errorf("it is a %T", o)
	}
	return s.objects.Put(object, watch, generation)
}

func (s typedStore[T]) remove(o runtime.Object) {
	if object, ok := o.(T); ok {
		s.objects.Remove(object)
	}
}

func (s typedStore[T]) sweep(watch, generation int32) { s.objects.Sweep(watch, generation) }

// watched is a resource that can be watched.
type watched struct {
	// resource is its name in paths, and in the log.
	resource string
	newList  func() runtime.Object
}

var (
	watchedRecords = watched{client.Records, func() runtime.Object { return &v1alpha1.DGbotAPIKeyRecordList{} }}
	watchedSecrets = watched{client.Secrets, func() runtime.Object { return &corev1.SecretList{} }}
)
