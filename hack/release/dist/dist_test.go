// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	helmrelease "helm.sh/helm/v4/pkg/release/v1"
	"sigs.k8s.io/kustomize/api/types"

	"dgbot.io/key-operator/hack/release/kustomization"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func write(t *testing.T, args ...string) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "new", "folder")
	if err := run(append([]string{"-out=" + folder}, args...), controlplane.Repository()); err != nil {
		t.Fatal(err)
	}
	return folder
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestManifest_IsConfigWithTheImage and nothing else in it is different.
func TestManifest_IsConfigWithTheImage(t *testing.T) {
	objects, err := kustomization.Overlay(types.Kustomization{},
		filepath.Join(controlplane.Repository(), "config", "default"), filepath.Join(controlplane.Repository(), "config", "verifier"))
	if err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	for _, object := range objects {
		config.WriteString("---\n" + object.MustString())
	}
	for image, written := range map[string]string{
		"registry.example/keys/operator:1.2.3":           "registry.example/keys/operator:1.2.3",
		"registry.example:5000/operator:1.2.3@" + digest: "registry.example:5000/operator:1.2.3@" + digest,
		"registry.example/operator:v1.2.3-rc.1":          "registry.example/operator:v1.2.3-rc.1",
	} {
		manifest := read(t, write(t, "-image="+image), "install.yaml")
		header, manifest, _ := strings.Cut(manifest, "\n")
		if !strings.Contains(header, " 1.2.3") {
			t.Errorf("it does not say which version it is: %s", header)
		}
		if count := strings.Count(config.String(), " dgbot-key-operator:dev\n"); count != 2 {
			t.Errorf("config names the image %d times: want manager and verifier", count)
		}
		if want := strings.ReplaceAll(config.String(), " dgbot-key-operator:dev\n", " "+written+"\n"); manifest != want {
			t.Errorf("%s: not config with that image:\n%s", image, manifest)
		}
	}
}

// TestManifest_HasNamespacesAndKindsFirst: kubectl applies objects in the order of the file.
func TestManifest_HasNamespacesAndKindsFirst(t *testing.T) {
	manifest := read(t, write(t, "-image=registry.example/operator:1.2.3"), "install.yaml")
	ranks := map[string]int{"Namespace": 0, "CustomResourceDefinition": 1}
	last, counted := 0, map[string]int{}
	for _, match := range regexp.MustCompile(`(?m)^kind: (.+)$`).FindAllStringSubmatch(manifest, -1) {
		rank, early := ranks[match[1]]
		if !early {
			rank = len(ranks)
		}
		if rank < last {
			t.Errorf("a %s comes after what needs it", match[1])
		}
		last = rank
		counted[match[1]]++
	}
	if counted["Namespace"] != 2 || counted["CustomResourceDefinition"] != 4 || counted["Deployment"] != 2 {
		t.Errorf("it has %v", counted)
	}
}

// TestTheManifestInstalls with one command, on an empty cluster.
func TestTheManifestInstalls(t *testing.T) {
	cluster := testenv.StartCluster(t, controlplane.Options{})
	manifest := filepath.Join(write(t, "-image=registry.example/operator:1.2.3"), "install.yaml")
	for _, args := range [][]string{
		{"apply", "-f", manifest},
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"},
		{"diff", "-k", filepath.Join(controlplane.Repository(), "config", "identity")},
		{"get", "service/dgbot-verifier", "networkpolicy/dgbot-verifier-ingress", "-n", "dgbot-system"},
		{"get", "role/dgbot-verifier-identity", "-n", "dgbot-identity"},
		{"auth", "can-i", "report", "dgbotapikeyrecords.keys.dgbot.io", "--as=system:serviceaccount:dgbot-system:dgbot-verifier"},
	} {
		if out, err := cluster.Kubectl(t.Context(), args...).CombinedOutput(); err != nil {
			t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
	out, err := cluster.Kubectl(t.Context(), "get", "deployment", "-A", "-o", "jsonpath={.items[*].metadata.name} {.items[*].spec.template.spec.containers[0].image}").CombinedOutput()
	const image = "registry.example/operator:1.2.3"
	if string(out) != "dgbot-manager dgbot-verifier "+image+" "+image {
		t.Errorf("%s, %v", out, err)
	}
}

// TestTheChartIsPackagedWithTheImage: a user who installs it sets no value.
func TestTheChartIsPackagedWithTheImage(t *testing.T) {
	for _, test := range []struct{ image, version, file, appVersion, want string }{
		{"registry.example/keys/operator:1.2.3", "", "1.2.3", "1.2.3", "registry.example/keys/operator:1.2.3"},
		{"registry.example/keys/operator:v1.2.3", "", "1.2.3", "v1.2.3", "registry.example/keys/operator:v1.2.3"},
		{"registry.example/keys/operator:nightly", "1.3.0-alpha.1", "1.3.0-alpha.1", "nightly", "registry.example/keys/operator:nightly"},
		{"registry.example/keys/operator@" + digest, "1.2.3", "1.2.3", "1.2.3", "registry.example/keys/operator@" + digest},
		{"registry.example/keys/operator:1.2.3@" + digest, "", "1.2.3", "1.2.3", "registry.example/keys/operator@" + digest},
	} {
		folder := write(t, "-image="+test.image, "-version="+test.version)
		packaged, err := loader.Load(filepath.Join(folder, "dgbot-key-operator-"+test.file+".tgz"))
		if err != nil {
			t.Fatal(err)
		}
		if packaged.Metadata.Version != test.file || packaged.Metadata.AppVersion != test.appVersion {
			t.Errorf("%s: version %s, appVersion %s", test.image, packaged.Metadata.Version, packaged.Metadata.AppVersion)
		}
		install := action.NewInstall(action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler)))
		install.DryRunStrategy, install.ReleaseName, install.Namespace = action.DryRunClient, "dgbot", "dgbot-system"
		install.KubeVersion = &common.KubeVersion{Version: "v1.32.0", Major: "1", Minor: "32"}
		got, err := install.Run(packaged, nil)
		if err != nil {
			t.Fatal(err)
		}
		if manifest := got.(*helmrelease.Release).Manifest; strings.Count(manifest, `image: "`+test.want+`"`) != 1 {
			t.Errorf("%s: the image is not in it", test.image)
		}
		for _, file := range packaged.Raw {
			if file.Name == "values.yaml" && strings.Count(string(file.Data), "#") < 10 {
				t.Error("the comments of values.yaml are gone")
			}
		}
	}
}

// TestReleasesAreReproducible: neither when it is written, nor from which checkout, makes a difference.
func TestReleasesAreReproducible(t *testing.T) {
	const image = "-image=registry.example/operator:1.2.3"
	first := write(t, image)
	checkout, second := t.TempDir(), t.TempDir()
	for _, folder := range []string{"charts", "config"} {
		if err := os.CopyFS(filepath.Join(checkout, folder), os.DirFS(filepath.Join(controlplane.Repository(), folder))); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{image, "-out=" + second}, checkout); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"install.yaml", "dgbot-key-operator-1.2.3.tgz"} {
		if read(t, first, name) != read(t, second, name) {
			t.Errorf("%s is different each time", name)
		}
	}
}

func TestReleasesWithoutANameAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"":                              "IMAGE is not set",
		"-image=operator:1.2.3":         "want <registry>/<repository>:<tag>",
		"-image=registry.example/o":     "want <registry>/<repository>:<tag>",
		"-image=registry.example/o:dev": `VERSION is "dev": set it to a semantic version`,
		"-image=registry.example/o:1.2": `VERSION is "1.2": set it to a semantic version`,
		"-image=registry.example/o:1.2.3 -version=latest": `VERSION is "latest"`,
	} {
		folder := filepath.Join(t.TempDir(), "dist")
		err := run(append(strings.Fields(args), "-out="+folder), controlplane.Repository())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
		if _, err := os.Stat(folder); err == nil {
			t.Errorf("%s: something is written", args)
		}
	}
}

// TestRelease_PrintsDigestsAndPaths, and nothing else on standard output: progress goes to standard error.
func TestRelease_PrintsDigestsAndPaths(t *testing.T) {
	printed, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = written
	folder := write(t, "-image=registry.example/operator:1.2.3")
	os.Stdout = stdout
	if err := written.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(printed)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, name := range []string{"install.yaml", "dgbot-key-operator-1.2.3.tgz"} {
		fmt.Fprintf(&want, "sha256:%x  %s\n", sha256.Sum256([]byte(read(t, folder, name))), filepath.Join(folder, name))
	}
	if string(got) != want.String() {
		t.Errorf("it prints\n%swant\n%s", got, want.String())
	}
}
