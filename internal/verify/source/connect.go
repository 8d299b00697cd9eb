// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Connection is how a source reaches its cluster.
type Connection struct {
	Config *rest.Config
	// PageSize is that of lists that are not streamed; 0 for the default. It keeps pages within what the connection accepts.
	PageSize int64
	// Digest differs when the kubeconfig has changed.
	Digest [sha256.Size]byte
}

// Connect returns the connection of an entry. Home is the cluster of an entry without a kubeconfig. It does not send a request: a cluster that
// cannot be reached must not prevent the start of the verifier.
func Connect(e *Entry, home *rest.Config) (Connection, error) {
	if e.Kubeconfig == "" {
		if home == nil {
			return Connection{}, fmt.Errorf("source %q has no kubeconfig, and the verifier does not run in a cluster: name a kubeconfig", e.Name)
		}
		return Connection{Config: home}, nil
	}
	content, err := readBounded(e.Kubeconfig)
	if err != nil {
		return Connection{}, fmt.Errorf("source %q: reading its kubeconfig: %w", e.Name, err)
	}
	config, err := load(content)
	if err != nil {
		return Connection{}, fmt.Errorf("source %q: kubeconfig %s: %w", e.Name, e.Kubeconfig, err)
	}
	return Connection{Config: config, PageSize: foreignPage, Digest: sha256.Sum256(content)}, nil
}

func load(content []byte) (*rest.Config, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, errors.New("the file is empty; run config/verifier-source/kubeconfig.sh again")
	}
	kubeconfig, err := clientcmd.Load(content)
	if err != nil {
		return nil, errors.New("not a valid kubeconfig; its content is not shown, because it may contain a token")
	}
	if err := checkKubeconfig(kubeconfig); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewDefaultClientConfig(*kubeconfig, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, err
	}
	// What is not JSON is not accepted: see boundedAnswers. By default some clients ask for protobuf.
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	config.WarningHandler = rest.NoWarnings{} // the default logs whatever the API server sends
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return boundedAnswers{next} })
	return config, nil
}

// checkKubeconfig rejects a kubeconfig that does more than connect. Its author is often the other cluster's administrator. A command would run with
// the verifier's rights. A file could be the verifier's own token, which would go to the server that the kubeconfig names.
func checkKubeconfig(kubeconfig *clientcmdapi.Config) error {
	current := kubeconfig.Contexts[kubeconfig.CurrentContext]
	if current == nil {
		return errors.New("current-context names no context")
	}
	cluster, user := kubeconfig.Clusters[current.Cluster], kubeconfig.AuthInfos[current.AuthInfo]
	if cluster == nil {
		return fmt.Errorf("context %q names no cluster", kubeconfig.CurrentContext)
	}
	if user == nil {
		user = &clientcmdapi.AuthInfo{}
	}
	const embed = "embed its content (kubectl config view --raw --flatten)"
	switch {
	case user.Exec != nil || user.AuthProvider != nil:
		return errors.New("it runs a command or a plugin to log in: use a token or a client certificate")
	case user.TokenFile != "":
		return errors.New("it names a file for the token: put the token into the field token")
	case user.ClientCertificate != "" || user.ClientKey != "":
		return fmt.Errorf("it names a file for the client certificate: %s", embed)
	case cluster.CertificateAuthority != "":
		return fmt.Errorf("it names a file for the certificate authority: %s", embed)
	case cluster.InsecureSkipTLSVerify:
		return errors.New("it does not verify the API server (insecure-skip-tls-verify): give certificate-authority-data")
	case !isSecured(cluster.Server, cluster.ProxyURL):
		return errors.New("server: want a URL with https")
	}
	return nil
}

// isSecured reports whether a connection to a server, perhaps by a proxy, is encrypted or does not leave the machine.
func isSecured(server, proxy string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return false
	}
	address := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && proxy == "" && address.IsLoopback()
}
