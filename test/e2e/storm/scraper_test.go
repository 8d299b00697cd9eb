// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// scraper keeps what the manager's metrics said all the time, as Prometheus would, for the canary to look through.
type scraper struct {
	address string
	token   string
	http    *http.Client
	kept    *os.File
	answers atomic.Int64
}

func newScraper(ctx context.Context, address, folder string) (*scraper, error) {
	reader := filepath.Join(controlplane.Repository(), "config", "prometheus", "reader.yaml")
	if out, err := world.Kubectl(ctx, "apply", "-f", reader).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	credentials, err := world.ServiceAccountConfig(ctx, controlplane.OperatorNamespace, "dgbot-metrics-reader")
	if err != nil {
		return nil, err
	}
	kept, err := os.Create(filepath.Join(folder, "metrics"))
	return &scraper{
		address: address,
		token:   credentials.BearerToken,
		kept:    kept,
		http: &http.Client{
			Timeout:   5 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		},
	}, err
}

// run scrapes until the context ends. Often no manager answers: it is down half of the time.
func (s *scraper) run(ctx context.Context) {
	for ctx.Err() == nil {
		if s.scrape(ctx) == nil {
			s.answers.Add(1)
		}
		pause(ctx, 500*time.Millisecond)
	}
}

func (s *scraper) scrape(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.address+"/metrics", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("metrics: %s", response.Status)
	}
	_, err = io.Copy(s.kept, response.Body)
	return err
}
