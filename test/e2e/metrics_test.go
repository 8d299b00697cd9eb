// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// samples are the values of a scrape by series.
func samples(t *testing.T, body string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, line := range strings.Split(body, "\n") {
		cut := strings.LastIndex(line, " ")
		if cut < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		values[line[:cut]] = value
	}
	return values
}

// prometheus scrapes managers with the token that config/prometheus has for it.
type prometheus struct {
	p     *place
	http  *http.Client
	token string
}

func (p *place) prometheus() *prometheus {
	p.T.Helper()
	reader := filepath.Join(controlplane.Repository(), "config", "prometheus", "reader.yaml")
	if out, err := world.Kubectl(p.T.Context(), "apply", "-f", reader).CombinedOutput(); err != nil {
		p.T.Fatalf("%v: %s", err, out)
	}
	p.T.Cleanup(func() {
		// The Secret may go with its account.
		if out, err := world.Kubectl(context.Background(), "delete", "--ignore-not-found", "-f", reader).CombinedOutput(); err != nil {
			p.T.Errorf("%v: %s", err, out)
		}
	})
	s := &prometheus{p: p, http: insecureTransport()}
	p.Eventually("there is a token", func() bool {
		var secret corev1.Secret
		must(p.T, admin.Get(p.T.Context(), client.ObjectKey{Namespace: controlplane.OperatorNamespace, Name: "dgbot-metrics-reader"}, &secret))
		s.token = string(secret.Data[corev1.ServiceAccountTokenKey])
		return s.token != ""
	})
	return s
}

// scrape returns nil while the manager does not answer.
func (s *prometheus) scrape(address string) map[string]float64 {
	s.p.T.Helper()
	request, err := http.NewRequestWithContext(s.p.T.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
	must(s.p.T, err)
	request.Header.Set("Authorization", "Bearer "+s.token)
	code, body := fetch(s.p.T, s.http, request)
	if code != http.StatusOK {
		return nil
	}
	return samples(s.p.T, body)
}

// seriesOf are those of one key, without the labels that say which.
func (p *place) seriesOf(name string, scraped map[string]float64) map[string]float64 {
	own := []string{`environment="production"`, fmt.Sprintf("name=%q", name), fmt.Sprintf("namespace=%q", p.Name)}
	found := map[string]float64{}
	for series, value := range scraped {
		metric, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
		var more []string
		same := 0
		for _, label := range strings.Split(labels, ",") {
			if slices.Contains(own, label) {
				same++
			} else {
				more = append(more, label)
			}
		}
		if same == len(own) {
			found[strings.TrimPrefix(metric, "dgbot_apikey_")+strings.Join(more, ",")] = value
		}
	}
	return found
}

func TestSeriesOfAKeyComeAndGoWithIt(t *testing.T) {
	addresses := []string{testenv.FreeAddress(t), testenv.FreeAddress(t)}
	managers := map[string]*process.Program{}
	for _, address := range addresses {
		managers[address] = startOperator(t, "--metrics-bind-address="+address)
	}
	p := newPlace(t)
	scraper := p.prometheus()
	end := metav1.Time{Time: time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second)}
	p.CreateKey("crm", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation.Interval = &metav1.Duration{Duration: 24 * time.Hour}
		k.Spec.ExpiresAt = &end
	})
	p.AwaitReady("crm")
	status := p.Key("crm").Status
	want := map[string]float64{
		`ready_statuscondition="True"`: 1, `ready_statuscondition="False"`: 0, `ready_statuscondition="Unknown"`: 0,
		"expiration_timestamp_seconds":                      float64(end.Unix()),
		"next_rotation_timestamp_seconds":                   float64(status.NextRotationAt.Unix()),
		`last_rotation_timestamp_secondscause="FirstIssue"`: float64(status.Current.IssuedAt.Unix()),
		"verifying_revisions":                               1,
	}
	var working, waiting string
	p.Eventually("one manager works and the other waits, and both say so", func() bool {
		for i, address := range addresses {
			is, isNot := scraper.scrape(address), scraper.scrape(addresses[1-i])
			if is["dgbot_manager_active"] == 1 && isNot != nil && isNot["dgbot_manager_active"] == 0 {
				working, waiting = address, addresses[1-i]
				return true
			}
		}
		return false
	})
	// The cache of the manager may be a moment behind what the test has read.
	exports := func(what, address string, want map[string]float64) {
		t.Helper()
		var got map[string]float64
		defer func() {
			if t.Failed() {
				t.Logf("exported %v, want %v", got, want)
			}
		}()
		p.Eventually(what, func() bool {
			got = p.seriesOf("crm", scraper.scrape(address))
			return maps.Equal(got, want)
		})
	}
	exports("the series of a new key", working, want)
	for series := range scraper.scrape(waiting) {
		if strings.HasPrefix(series, "dgbot_apikey_ready_status") {
			t.Errorf("the manager that waits exports %s", series)
		}
	}
	scraper.exportsWhatAlertsRead(working)

	must(t, managers[working].Stop())
	exports("the series of the key at the other manager", waiting, want)

	must(t, admin.Delete(t.Context(), p.Key("crm")))
	exports("no series of a key that is gone", waiting, map[string]float64{})
}

// exportsWhatAlertsRead: an alert on a metric or a controller that does not exist never fires, whatever its tests say.
func (s *prometheus) exportsWhatAlertsRead(address string) {
	t := s.p.T
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Repository(), "config", "prometheus", "alerts.yaml"))
	must(t, err)
	// The conditions that alerts are about, as series.
	s.p.CreateKey("asked", func(k *v1alpha1.DGbotAPIKey) {
		k.Annotations = map[string]string{v1alpha1.RevokeIssuedBeforeAnnotation: "2126-01-01T00:00:00Z"}
	})
	wanted := []string{}
	for _, metric := range regexp.MustCompile(`\b(dgbot|controller_runtime|workqueue)_[a-z_]+`).FindAllString(string(content), -1) {
		if strings.HasPrefix(metric, "dgbot_verifier_") {
			continue // test/verifier looks for those
		}
		wanted = append(wanted, `^`+metric+`($|\{)`)
	}
	for _, metric := range []string{"controller_runtime_reconcile_errors_total", "workqueue_depth"} {
		for _, controller := range []string{"dgbotapikey", "dgbotapikeyrecord"} {
			wanted = append(wanted, `^`+metric+`\{controller="`+controller+`"[,}]`)
		}
	}
	var missing []string
	defer func() {
		if t.Failed() {
			t.Logf("not exported: %v", missing)
		}
	}()
	s.p.Eventually("all that alerts read is exported", func() bool {
		scraped := slices.Collect(maps.Keys(s.scrape(address)))
		missing = slices.DeleteFunc(slices.Clone(wanted), func(expression string) bool {
			return slices.ContainsFunc(scraped, regexp.MustCompile(expression).MatchString)
		})
		return len(missing) == 0
	})
}
