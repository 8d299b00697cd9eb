// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
)

// TestHelm3RendersTheSame: it is still what many have, and has a template engine and a schema validator of its own.
func TestHelm3RendersTheSame(t *testing.T) {
	loaded, err := loader.Load(chartPath)
	if err != nil {
		t.Fatal(err)
	}
	installWith := func(given values) (string, error) {
		install := action.NewInstall(&action.Configuration{Log: t.Logf})
		install.DryRun, install.ClientOnly, install.ReleaseName, install.Namespace = true, true, "dgbot", operatorNamespace
		install.KubeVersion = &chartutil.KubeVersion{Version: "v1.32.0", Major: "1", Minor: "32"}
		release, err := install.Run(loaded, given)
		if err != nil {
			return "", err
		}
		return release.Manifest, nil
	}
	for _, text := range []string{`{}`, everything} {
		got, err := installWith(parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		want, err := rendered(t, operatorNamespace, parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		same(t, objectsOf(t, got), objectsOf(t, want.Manifest))
	}
	if _, err := installWith(parse(t, `{manager: {replica: 2}}`)); err == nil || !strings.Contains(err.Error(), "additional properties 'replica' not allowed") {
		t.Errorf("a misspelled value: %v", err)
	}
}
