// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestManager_FollowsTheAPIServersClock: a manager whose clock is ahead of the API server's by ten minutes, as far as it can know, dates
// revisions and HMAC secrets by the API server's.
func TestManager_FollowsTheAPIServersClock(t *testing.T) {
	const ahead = 10 * time.Minute
	config, err := world.ServiceAccountConfig(t.Context(), controlplane.OperatorNamespace, controlplane.OperatorAccount)
	must(t, err)
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(world.Config))
	must(t, err)
	target, err := url.Parse(config.Host)
	must(t, err)
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(response *http.Response) error {
			response.Header.Set("Date", time.Now().Add(-ahead).UTC().Format(http.TimeFormat))
			return nil
		},
	})
	proxy.EnableHTTP2 = true
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	behind := rest.CopyConfig(config)
	behind.Host = proxy.URL
	behind.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	operator, err := world.StartOperatorWith(behind, controlplane.OperatorNamespace, &world.Log)
	must(t, err)
	t.Cleanup(func() { must(t, operator.Stop()) })
	p := newPlace(t)
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")
	record := p.Records("crm")[0]
	if off := record.CreationTimestamp.Add(-ahead).Sub(record.Spec.IssuedAt.Time).Abs(); off > 3*time.Second {
		t.Errorf("issued at %s, created at %s: %s off", record.Spec.IssuedAt, record.CreationTimestamp, off)
	}
}
