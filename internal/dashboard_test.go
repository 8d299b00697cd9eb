// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is what the test reads of a Grafana dashboard.
type dashboard struct {
	Panels []struct {
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr string }
	}
}

var (
	metricInQuery = regexp.MustCompile(`\b(?:dgbot|controller_runtime|workqueue)_[a-z_]+`)
	// fromElsewhere are metrics of controller-runtime and client-go.
	fromElsewhere = []string{"controller_runtime_reconcile_errors_total", "workqueue_depth"}
	// verifierMetrics are the files that declare the metrics of the verifier.
	verifierMetrics = []string{
		"internal/verify/feed/metrics.go", "internal/verify/serve/metrics.go", "internal/verify/serve/limits.go", "internal/verify/usage/metrics.go",
	}
)

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "config", "integrations", "grafana", "dgbot-keys.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// declaredMetrics are the names of all our metrics.
func declaredMetrics(t *testing.T) []string {
	t.Helper()
	files := sources(t)
	var names []string
	for _, file := range slices.Concat(managerMetrics, verifierMetrics) {
		source, ok := files[file]
		if !ok {
			t.Fatalf("%s is gone: this test looks at nothing", file)
		}
		names = append(names, metricNames(source.syntax)...)
	}
	return names
}

// TestDashboard_QueriesMetricsThatExist: a panel that asks for a renamed metric stays empty, which looks like a quiet day.
func TestDashboard_QueriesMetricsThatExist(t *testing.T) {
	declared, asked := declaredMetrics(t), map[string]bool{}
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			names := metricInQuery.FindAllString(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("panel %q asks for no metric of ours: %s", panel.Title, target.Expr)
			}
			for _, name := range names {
				name = strings.TrimSuffix(name, "_bucket") // of a histogram
				asked[name] = true
				if !slices.Contains(declared, name) && !slices.Contains(fromElsewhere, name) {
					t.Errorf("panel %q asks for %s, which does not exist", panel.Title, name)
				}
			}
		}
	}
	if len(asked) < 20 {
		t.Errorf("the dashboard asks for %d metrics only", len(asked))
	}
}

// TestDashboard_ExplainsEachPanel, and no two overlap.
func TestDashboard_ExplainsEachPanel(t *testing.T) {
	taken := map[[2]int]string{}
	for _, panel := range readDashboard(t).Panels {
		if panel.Type != "row" && (panel.Title == "" || !strings.HasSuffix(panel.Description, ".")) {
			t.Errorf("panel %q: the description is %q, want a sentence", panel.Title, panel.Description)
		}
		at := panel.GridPos
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("panels %q and %q overlap", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
		if at.X+at.W > 24 {
			t.Errorf("panel %q is wider than the page", panel.Title)
		}
	}
}
