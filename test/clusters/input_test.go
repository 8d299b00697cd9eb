// SPDX-License-Identifier: Apache-2.0

package clusters

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// TestSourceConfig_IsRefusedAtTheStart with a message that says what is wrong.
func TestSourceConfig_IsRefusedAtTheStart(t *testing.T) {
	v := newVerifier(t)
	v.write("exec.kubeconfig", strings.ReplaceAll(readFile(t, filepath.Join(v.folder, "eu.kubeconfig")), "    token:", "    exec: {apiVersion: client.authentication.k8s.io/v1, command: sh}\n    token:"))
	v.write("junk.kubeconfig", "{")
	for name, tc := range map[string]struct {
		file, want string
		args       []string
	}{
		"no file":                {"", "--source-config: ", []string{"--source-config=/nowhere/sources.yaml"}},
		"an unknown field":       {file(staging + ", url: x"), `unknown field "sources[1].url"`, nil},
		"a name twice":           {file(staging) + "- {name: eu, kubeconfig: eu.kubeconfig, environments: [staging]}\n", `the name "eu" is used by an earlier source`, nil},
		"no environments":        {file("scopes: ['*']"), `"eu": environments: name those`, nil},
		"no kubeconfig there":    {"sources:\n- name: home\n- {name: eu, kubeconfig: none, environments: [staging]}\n", `source "eu": reading its kubeconfig: `, nil},
		"a kubeconfig with exec": {"sources:\n- name: home\n- {name: eu, kubeconfig: exec.kubeconfig, environments: [staging]}\n", `source "eu": kubeconfig `, nil},
		"a file that is none":    {"sources:\n- name: home\n- {name: eu, kubeconfig: junk.kubeconfig, environments: [staging]}\n", "not a valid kubeconfig", nil},
		"another flag":           {file(staging), "--environment and --namespace cannot be combined with --source-config", []string{"--environment=staging"}},
	} {
		t.Run(name, func(t *testing.T) {
			v.write("sources.yaml", tc.file)
			var log bytes.Buffer
			args := append([]string{"--source-config=" + filepath.Join(v.folder, "sources.yaml")}, tc.args...)
			program, err := home.StartVerifier(t.Context(), &log, args...)
			must(t, err)
			testenv.StopAtEnd(t, program)
			home.Eventually(t, "the verifier ends", func() bool {
				select {
				case <-program.Exited():
					return true
				default:
					return false
				}
			})
			if program.Err() == nil || !strings.Contains(log.String(), tc.want) {
				t.Errorf("%v: %s\nwant %q", program.Err(), log.String(), tc.want)
			}
		})
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}

// TestVerifierSource_MayDoNothingElse with the kubeconfig that the script prints: no Secrets, no keys, and no Lease of the operator.
func TestVerifierSource_MayDoNothingElse(t *testing.T) {
	v := newVerifier(t)
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(readFile(t, filepath.Join(v.folder, "eu.kubeconfig"))))
	must(t, err)
	path := filepath.Join(v.folder, "source.kubeconfig")
	must(t, controlplane.WriteKubeconfig(path, config, "source"))
	for _, tc := range []struct {
		may  bool
		args []string
	}{
		{true, []string{"get", "--raw=/apis/keys.dgbot.io/v1alpha1/dgbotapikeyrecords?limit=1"}},
		{false, []string{"get", "secrets", "-A"}},
		{false, []string{"get", "dgbotapikeys", "-A"}},
		{false, []string{"get", "leases", "-n", controlplane.OperatorNamespace}},
		{false, []string{"create", "-f", v.lease("dgbot-manager", "")}},
		{false, []string{"create", "-f", v.lease("dgbot-usage-staging", "")}},
		{false, []string{"create", "-f", v.lease("mine", "  labels: {keys.dgbot.io/verifier: \"true\"}\n")}}, // the policy of registrations
	} {
		out, err := eu.KubectlAs(t.Context(), path, tc.args...).CombinedOutput()
		if (err == nil) != tc.may || !tc.may && !strings.Contains(strings.ToLower(string(out)), "forbidden") {
			t.Errorf("kubectl %s: %v\n%s", strings.Join(tc.args, " "), err, out)
		}
	}
}

// lease writes the manifest of a Lease, and returns its path.
func (v *verifier) lease(name, metadata string) string {
	v.write(name+".yaml", "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata:\n  name: "+name+"\n  namespace: "+controlplane.OperatorNamespace+"\n"+metadata)
	return filepath.Join(v.folder, name+".yaml")
}
