// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"

	"dgbot.io/key-operator/internal/testenv/process"
)

// instructions are what a user needs to try a running stack.
type instructions struct{ kubeconfig, assets, repository, verifierURL string }

// commands returns lines that can be pasted into any POSIX shell, in any folder, and again.
func (i instructions) commands() string {
	return fmt.Sprintf(`  export KUBECONFIG=%s
  export PATH=%s:%s:"$PATH"
  export VERIFIER=%s
  kubectl create namespace support --dry-run=client -o yaml | kubectl apply -f -
  kubectl apply -k %s
  kubectl wait --for=condition=Ready dgbotapikeys --all -n support --timeout=60s
  kubectl get dgbotapikeys -n support

  key=$(kubectl get secret dgbot-production -n support -o jsonpath='{.data.api-key}' | base64 -d)
  curl -X POST -H "Authorization: Bearer $key" $VERIFIER/v1/verify
`, process.Quote(i.kubeconfig), process.Quote(i.assets), process.Quote(filepath.Join(i.repository, "bin")),
		i.verifierURL, process.Quote(filepath.Join(i.repository, "config", "samples")))
}
