// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/api/v1alpha1"
)

var recordKind = watched{"dgbotapikeyrecords", func() runtime.Object { return &v1alpha1.DGbotAPIKeyRecordList{} }}

// newRecordClient returns a client for records.
func newRecordClient(config *rest.Config) (rest.Interface, error) {
	return newClient(config, v1alpha1.GroupVersion, v1alpha1.AddToScheme)
}

// recordStore brings records into an index.
type recordStore struct{ index *Index }

func (s recordStore) put(o runtime.Object, source, generation int32) error {
	record, ok := o.(*v1alpha1.DGbotAPIKeyRecord)
	if !ok {
		return fmt.Errorf("it is a %T", o)
	}
	return s.index.put(record, source, generation)
}

func (s recordStore) remove(o runtime.Object) {
	if record, ok := o.(*v1alpha1.DGbotAPIKeyRecord); ok {
		s.index.remove(record)
	}
}

func (s recordStore) sweep(source, generation int32) { s.index.sweep(source, generation) }
