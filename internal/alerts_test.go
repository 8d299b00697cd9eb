// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// alert is one of config/prometheus/alerts.yaml, as the lines that belong to it.
type alert struct {
	name, lines string
}

var alertLine = regexp.MustCompile(`(?m)^  - alert: (\w+)$`)

func alerts(t *testing.T) []alert {
	t.Helper()
	content := read(t, "config", "prometheus", "alerts.yaml")
	starts := alertLine.FindAllStringSubmatchIndex(content, -1)
	var found []alert
	for i, start := range starts {
		end := len(content)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		found = append(found, alert{content[start[2]:start[3]], content[start[0]:end]})
	}
	if len(found) < 10 || len(found) != strings.Count(content, "alert:") {
		t.Fatalf("%d alerts read, %d in the file", len(found), strings.Count(content, "alert:"))
	}
	return found
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestEachAlertHasItsPlaceInTheRunbook: and the runbook has none of alerts that are gone.
func TestEachAlertHasItsPlaceInTheRunbook(t *testing.T) {
	var headings, names []string
	for _, line := range strings.Split(read(t, "docs", "runbook.md"), "\n") {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			headings = append(headings, heading)
		}
	}
	for _, a := range alerts(t) {
		names = append(names, a.name)
		if want := "runbook: docs/runbook.md#" + strings.ToLower(a.name) + "\n"; !strings.Contains(a.lines, want) {
			t.Errorf("%s does not point to its section: want %s", a.name, want)
		}
	}
	if !slices.Equal(headings, names) {
		t.Errorf("the runbook has\n%v, want the alerts in their order\n%v", headings, names)
	}
}

// TestEachAlertSaysWhatItIs: how bad, about what, and of which key where it is about one.
func TestEachAlertSaysWhatItIs(t *testing.T) {
	for _, a := range alerts(t) {
		for _, want := range []string{"    expr: ", "      severity: ", "      summary: ", "      description: '"} {
			if strings.Count(a.lines, "\n"+want) != 1 {
				t.Errorf("%s: want one line with%s", a.name, want)
			}
		}
		if !regexp.MustCompile(`severity: (critical|warning)\n`).MatchString(a.lines) {
			t.Errorf("%s: severity is critical or warning", a.name)
		}
		if strings.Contains(a.lines, "by (namespace") && !strings.Contains(a.lines, "{{ $labels.namespace }}/{{ $labels.name }} ({{ $labels.environment }})") {
			t.Errorf("%s does not name the key", a.name)
		}
	}
}

// labelValues finds the values of a label that an alert selects by.
var labelValues = regexp.MustCompile(`\b(reason|cause)=~?"([A-Za-z|]+)"`)

// TestAlertsSelectByWhatThereIs: an alert that selects by a reason or a cause of another name never fires, whatever its tests say.
func TestAlertsSelectByWhatThereIs(t *testing.T) {
	files := sources(t)
	known := map[string][]string{
		"reason": append(constants(files["api/v1alpha1/conditions.go"].syntax), constants(files["controllers/records/metrics.go"].syntax)...),
		"cause":  constants(files["api/v1alpha1/dgbotapikeyrecord_types.go"].syntax),
	}
	found := 0
	for _, a := range alerts(t) {
		for _, selector := range labelValues.FindAllStringSubmatch(a.lines, -1) {
			for _, value := range strings.Split(selector[2], "|") {
				found++
				if !slices.Contains(known[selector[1]], value) {
					t.Errorf("%s selects by the %s %s, which the operator does not use", a.name, selector[1], value)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d values found", found)
	}
}

// TestEachAlertIsTestedBothWays: promtool runs the tests, and would not miss one.
func TestEachAlertIsTestedBothWays(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "hack", "alerts", "*_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(content)
	}
	for _, a := range alerts(t) {
		quiet, firing := "- {alertname: "+a.name+", eval_time: ", "exp_annotations:"
		_, test, found := strings.Cut(tests.String(), "\n- name: "+a.name+"\n")
		test, _, _ = strings.Cut(test, "\n- name: ")
		if !found || !strings.Contains(test, firing) || !strings.Contains(test, "alertname: "+a.name+"\n") {
			t.Errorf("no test has %s fire", a.name)
		}
		if !strings.Contains(test, quiet) && strings.Count(test, "    eval_time: ") < 2 {
			t.Errorf("no test has %s keep quiet", a.name)
		}
	}
}

// TestAlertsReadWhatIsExported: a name that no program exports never fires, whatever its tests say.
func TestAlertsReadWhatIsExported(t *testing.T) {
	files := sources(t)
	var exported []string
	for _, file := range managerMetrics {
		exported = append(exported, metricNames(files[file].syntax)...)
	}
	for path, file := range files {
		if strings.HasPrefix(path, "internal/verify/") && !strings.HasSuffix(path, "_test.go") {
			exported = append(exported, metricNames(file.syntax)...)
		}
	}
	read := map[string]bool{}
	for _, a := range alerts(t) {
		for _, name := range regexp.MustCompile(`dgbot_[a-z_]+`).FindAllString(a.lines, -1) {
			read[name] = true
			if !slices.Contains(exported, name) {
				t.Errorf("%s reads %s, which no program exports", a.name, name)
			}
		}
	}
	if len(read) < 6 {
		t.Errorf("only %v are read", read)
	}
}
