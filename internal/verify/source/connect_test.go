// SPDX-License-Identifier: Apache-2.0

package source

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// kubeconfig returns a kubeconfig with fields of its cluster and its user.
func kubeconfig(cluster, user string) string {
	return `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
"clusters": [{"name": "k", "cluster": {` + cluster + `}}], "users": [{"name": "u", "user": {` + user + `}}]}`
}

const (
	server = `"server": "https://eu.example:6443"`
	token  = `"token": "t0ken"`
)

func TestConnect_ReadsAKubeconfig(t *testing.T) {
	e := &Entry{Name: "eu", Kubeconfig: write(t, kubeconfig(server, token))}
	first, err := Connect(e, nil)
	if err != nil || first.Config.Host != "https://eu.example:6443" || first.Config.BearerToken != "t0ken" {
		t.Fatalf("%+v, %v", first.Config, err)
	}
	e.Kubeconfig = write(t, kubeconfig(server, `"token": "another"`))
	if second, err := Connect(e, nil); err != nil || second.Digest == first.Digest {
		t.Errorf("a changed kubeconfig has the digest of the earlier one: %v", err)
	}
}

func TestConnect_HasTheVerifiersOwnClusterWithoutAKubeconfig(t *testing.T) {
	home := &rest.Config{Host: "https://home.example"}
	if c, err := Connect(&Entry{Name: "home"}, home); err != nil || c.Config != home {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Connect(&Entry{Name: "home"}, nil); err == nil || !strings.Contains(err.Error(), `"home" has no kubeconfig`) {
		t.Errorf("outside of a cluster: %v", err)
	}
}

// TestConnect_RefusesWhatDoesMoreThanConnect: the kubeconfig may come from the administrator of another cluster.
func TestConnect_RefusesWhatDoesMoreThanConnect(t *testing.T) {
	for content, want := range map[string]string{
		kubeconfig(server, `"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh"}`): "runs a command",
		kubeconfig(server, `"auth-provider": {"name": "oidc"}`):                                          "runs a command or a plugin",
		kubeconfig(server, `"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"`):         "a file for the token",
		kubeconfig(server, `"client-certificate": "/a", "client-key": "/b"`):                             "a file for the client certificate",
		kubeconfig(server+`, "certificate-authority": "/etc/passwd"`, token):                             "a file for the certificate authority",
		kubeconfig(server+`, "insecure-skip-tls-verify": true`, token):                                   "insecure-skip-tls-verify",
		kubeconfig(`"server": "http://eu.example"`, token):                                               "want a URL with https",
		kubeconfig(`"server": "http://127.0.0.1:1", "proxy-url": "http://proxy.example"`, token):         "want a URL with https",
		kubeconfig(`"server": ""`, token):                                                                "want a URL with https",
		kubeconfig("", token):                                                                            "want a URL with https",
		strings.ReplaceAll(kubeconfig(server, token), `"current-context": "c"`, `"x": "c"`):              "current-context names no context",
		strings.ReplaceAll(kubeconfig(server, token), `"cluster": "k"`, `"cluster": "l"`):                "names no cluster",
		kubeconfig(server, `"token": ["t0ken"]`):                                                         "not a valid kubeconfig",
		"{":                                                                                              "not a valid kubeconfig",
		"":                                                                                               "the file is empty",
	} {
		_, err := Connect(&Entry{Name: "eu", Kubeconfig: write(t, content)}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `source "eu"`) || strings.Contains(err.Error(), "t0ken") {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
	if _, err := Connect(&Entry{Name: "eu", Kubeconfig: "/nowhere"}, nil); err == nil || !strings.Contains(err.Error(), "reading its kubeconfig") {
		t.Errorf("no file: %v", err)
	}
}
