// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the declarative API of DGbot's API keys: group keys.dgbot.io, version v1alpha1.
// +kubebuilder:object:generate=true
// +groupName=keys.dgbot.io
package v1alpha1

// Fields that hold a time or a duration repeat their validation markers. controller-gen (v0.23) resolves a type alias to
// metav1.Time or metav1.Duration and drops the markers of the alias; a defined type would have to embed the metav1 type and
// be unwrapped wherever the code reads a time. test/rules compares the markers of all these fields with one form.

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
