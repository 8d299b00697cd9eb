// SPDX-License-Identifier: Apache-2.0

// Package client returns clients for the resources that the verifier reads.
package client

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/api/v1alpha1"
)

// The resources that the verifier reads, as paths name them.
const (
	Records = "dgbotapikeyrecords"
	Secrets = "secrets"
)

// ForRecords returns a client for records.
func ForRecords(config *rest.Config) (rest.Interface, error) {
	return forGroup(config, v1alpha1.GroupVersion, v1alpha1.AddToScheme)
}

// ForSecrets returns a client for Secrets.
func ForSecrets(config *rest.Config) (rest.Interface, error) {
	return forGroup(config, corev1.SchemeGroupVersion, corev1.AddToScheme)
}

// forGroup returns a client for the kinds of an API group. It has no rate limit: the verifier sends a handful of requests per minute, and
// limits its reports itself.
func forGroup(config *rest.Config, group schema.GroupVersion, addToScheme func(*runtime.Scheme) error) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := addToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, group)
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &group, "/apis"
	if group.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.QPS = -1
	return rest.RESTClientFor(config)
}
