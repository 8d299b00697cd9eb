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
	var answer struct{ KVs []struct{ Value []byte } }
	if err := c.askEtcd(ctx, "range", map[string][]byte{"key": []byte("/registry/" + path)}, &answer); err != nil {
		return nil, err
	}
	if len(answer.KVs) != 1 {
		return nil, fmt.Errorf("etcd has %d objects at %s", len(answer.KVs), path)
	}
	return answer.KVs[0].Value, nil
}

// Store writes what etcd holds of an object, past the API server: so a Secret can be one that cannot be decrypted.
func (c *Cluster) Store(ctx context.Context, path string, value []byte) error {
	return c.askEtcd(ctx, "put", map[string][]byte{"key": []byte("/registry/" + path), "value": value}, nil)
}

func (c *Cluster) askEtcd(ctx context.Context, call string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	url := c.environment.ControlPlane.Etcd.URL.JoinPath("v3", "kv", call)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking etcd: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd answers %s to %s", response.Status, call)
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("the answer of etcd: %w", err)
	}
	return nil
}
