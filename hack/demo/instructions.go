// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// instructions are what a user needs to try a running stack.
type instructions struct{ kubeconfig, assets, repository, verifierURL string }

// commands returns lines that can be pasted into any POSIX shell, in any folder, and again.
func (i instructions) commands() string {
	return fmt.Sprintf(`  export KUBECONFIG=%s
  export PATH=%s:%s:"$PATH"
  kubectl create namespace support --dry-run=client -o yaml | kubectl apply -f -
  kubectl apply -k %s
  kubectl wait --for=condition=Ready dgbotapikeys --all -n support --timeout=60s
  kubectl get dgbotapikeys -n support

  key=$(kubectl get secret dgbot-production -n support -o jsonpath='{.data.api-key}' | base64 -d)
  curl -X POST -H "Authorization: Bearer $key" %s/v1/verify
`, controlplane.Quote(i.kubeconfig), controlplane.Quote(i.assets), controlplane.Quote(filepath.Join(i.repository, "bin")),
		controlplane.Quote(filepath.Join(i.repository, "config", "samples")), i.verifierURL)
}
