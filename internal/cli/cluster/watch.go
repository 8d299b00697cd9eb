// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"dgbot.io/key-operator/api/v1alpha1"
)

// WatchKeys returns an informer of the keys of a namespace, or of all namespaces if it is empty, that a label selector selects. The caller runs
// it. It lists and watches with the rights of the user, and no other kind.
func (c *Client) WatchKeys(namespace, selector string) (cache.SharedInformer, error) {
	// A watch has no end of its own, and --request-timeout would be one.
	config := rest.CopyConfig(c.config)
	config.Timeout = 0
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	source := cache.NewFilteredListWatchFromClient(client, keyResource, namespace, func(options *metav1.ListOptions) { options.LabelSelector = selector })
	informer := cache.NewSharedInformer(source, &v1alpha1.DGbotAPIKey{}, 0)
	return informer, informer.SetTransform(withoutManagedFields)
}

// withoutManagedFields drops what may be the larger half of an object and is of no use to a reader.
func withoutManagedFields(object any) (any, error) {
	if key, ok := object.(*v1alpha1.DGbotAPIKey); ok {
		key.ManagedFields = nil
	}
	return object, nil
}
