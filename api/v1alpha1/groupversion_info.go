// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the declarative API of DGbot's API keys: group keys.dgbot.io, version v1alpha1.
// +kubebuilder:object:generate=true
// +groupName=keys.dgbot.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "keys.dgbot.io", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&DGbotAPIKey{}, &DGbotAPIKeyList{},
		&DGbotAPIKeyRecord{}, &DGbotAPIKeyRecordList{},
		&DGbotChatbot{}, &DGbotChatbotList{},
		&DGbotEnvironment{}, &DGbotEnvironmentList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
