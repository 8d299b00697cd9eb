// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Stored returns an object as etcd holds it, and a backup of etcd would; the path is the API server's, such as
// "secrets/support/crm".
func (c *Cluster) Stored(ctx context.Context, path string) ([]byte, error) {
	question, err := json.Marshal(map[string][]byte{"key": []byte("/registry/" + path)})
	if err != nil {
		return nil, err
	}
	url := c.environment.ControlPlane.Etcd.URL.JoinPath("v3", "kv", "range")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url.String(), bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking etcd: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct{ KVs []struct{ Value []byte } }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("the answer of etcd: %w", err)
	}
	if len(answer.KVs) != 1 {
		return nil, fmt.Errorf("etcd has %d objects at %s", len(answer.KVs), path)
	}
	return answer.KVs[0].Value, nil
}
