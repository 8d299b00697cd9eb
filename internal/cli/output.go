// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"dgbot.io/key-operator/api/v1alpha1"
)

// printObjects prints a list as kubectl does.
func printObjects(out io.Writer, output string, keys []v1alpha1.DGbotAPIKey) error {
	list := v1alpha1.DGbotAPIKeyList{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind + "List"}, Items: keys}
	for i := range list.Items {
		list.Items[i].TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.APIKeyKind}
		list.Items[i].ManagedFields = nil
	}
	if list.Items == nil {
		list.Items = []v1alpha1.DGbotAPIKey{}
	}
	text, err := json.MarshalIndent(list, "", "    ")
	if err == nil && output == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return err
	}
	if output == "json" {
		text = append(text, '\n')
	}
	_, err = out.Write(text)
	return err
}
