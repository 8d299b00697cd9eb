// SPDX-License-Identifier: Apache-2.0

// Package controlplane runs a real etcd, API server and controller manager for tests, the demo and `make run`: the ones
// `make controlplane` builds, or those in the folder that KUBEBUILDER_ASSETS names.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"dgbot.io/key-operator/internal/scratch"
	"dgbot.io/key-operator/internal/testenv/process"
)

// Cluster is a running control plane.
type Cluster struct {
	// Config is a cluster admin's (group system:masters).
	Config *rest.Config
	// Kubeconfig is the path of a file with the same.
	Kubeconfig string

	run               *process.Run
	assets            string
	folder            string
	environment       *envtest.Environment
	controllerManager *exec.Cmd
	exited            chan struct{}
}

// Options for Start.
type Options struct {
	// APIServerArgs are added to the API server's, without leading dashes, such as {"audit-log-path": {"x"}}.
	APIServerArgs map[string][]string
}

// minSpace is what etcd and the API server need of the folder for temporary files in bytes, of which etcd reserves 128 MiB for its log.
const minSpace = 256 << 20

// controllers of the controller manager that matter to keys. It looks for others in vain: there are no nodes.
const controllers = "garbage-collector-controller,namespace-controller,serviceaccount-controller,resourcequota-controller," +
	"validatingadmissionpolicy-status-controller,clusterrole-aggregation-controller,root-ca-certificate-publisher-controller"

// Start starts etcd and the API server. The controller manager is started by StartControllerManager, after the CRDs
// are there: garbage collection meets a CRD that is created later only after up to 30 seconds.
func Start(options Options) (*Cluster, error) {
	if err := scratch.Require(minSpace); err != nil {
		return nil, err
	}
	assets, err := Assets()
	if err != nil {
		return nil, err
	}
	// envtest takes a variable that is set and empty for a folder.
	if err := os.Setenv("KUBEBUILDER_ASSETS", assets); err != nil {
		return nil, err
	}
	c := &Cluster{assets: assets}
	if c.run, err = process.CurrentRun(); err != nil {
		return nil, err
	}
	if c.folder, err = process.TempDir("controlplane"); err != nil {
		return nil, err
	}
	c.Kubeconfig = filepath.Join(c.folder, "admin.kubeconfig")
	c.environment = &envtest.Environment{BinaryAssetsDirectory: assets, ControlPlaneStopTimeout: 20 * time.Second}
	if err := c.keepFiles(); err != nil {
		return nil, err
	}
	args := c.environment.ControlPlane.GetAPIServer().Configure()
	// Tests run with the strictest admission that users have: this plugin is on in OpenShift.
	args.Append("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	for name, values := range options.APIServerArgs {
		args.Append(name, values...)
	}
	if c.Config, err = c.environment.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting etcd and the API server from %s: %w", assets, err), c.Stop())
	}
	// envtest makes certificates for webhooks outside of the folder of the run. There are no webhooks.
	if err := c.environment.WebhookInstallOptions.Cleanup(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	c.Config.QPS, c.Config.Burst = -1, -1
	if err := c.writeKubeconfig(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Assets returns the folder with the control plane's programs.
func Assets() (string, error) {
	folder := os.Getenv("KUBEBUILDER_ASSETS")
	hint := "KUBEBUILDER_ASSETS names this folder; unset it to use the one 'make controlplane' builds"
	if folder == "" {
		_, self, _, _ := runtime.Caller(0)
		folder = filepath.Join(filepath.Dir(self), "..", "..", "..", "bin", "k8s")
		hint = "run 'make controlplane'"
	}
	for _, program := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"} {
		if _, err := os.Stat(filepath.Join(folder, program)); err != nil {
			return "", fmt.Errorf("no control plane: %w (%s)", err, hint)
		}
	}
	return filepath.Abs(folder)
}

// StartControllerManager starts garbage collection, namespace deletion, quotas and what else keys meet in a cluster, and
// waits until it serves.
func (c *Cluster) StartControllerManager(ctx context.Context, log io.Writer) error {
	if log == nil {
		log = io.Discard
	}
	// A user of that name, not of system:masters: a cluster's own controller manager has no more rights.
	user, err := c.environment.AddUser(envtest.User{Name: "system:kube-controller-manager"}, nil)
	if err != nil {
		return err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return err
	}
	path := filepath.Join(c.folder, "controller-manager.kubeconfig")
	if err := os.WriteFile(path, kubeconfig, 0o600); err != nil {
		return err
	}
	serviceAccountKey := filepath.Join(c.environment.ControlPlane.GetAPIServer().CertDir, "sa-signer.key")
	args := []string{
		"--kubeconfig=" + path, "--controllers=" + controllers, "--leader-elect=false", "--secure-port=0",
		"--use-service-account-credentials=true", "--kube-api-qps=400", "--kube-api-burst=400",
		"--service-account-private-key-file=" + serviceAccountKey,
		"--concurrent-gc-syncs=20",
	}
	if _, err := os.Stat(serviceAccountKey); err != nil {
		return fmt.Errorf("the API server's service account key: %w", err)
	}
	const program = "kube-controller-manager"
	c.controllerManager = c.run.Command(c.processName(program), filepath.Join(c.assets, program), args...)
	c.controllerManager.Stdout, c.controllerManager.Stderr = log, log
	if err := c.controllerManager.Start(); err != nil {
		return err
	}
	c.exited = make(chan struct{})
	go func(command *exec.Cmd, exited chan struct{}) {
		_ = command.Wait()
		close(exited)
	}(c.controllerManager, c.exited)
	return c.waitForServiceAccounts(ctx)
}

// waitForServiceAccounts waits for a default service account: the sign that the controllers run.
func (c *Cluster) waitForServiceAccounts(ctx context.Context) error {
	clients, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 90*time.Second, true, func(ctx context.Context) (bool, error) {
		select {
		case <-c.exited:
			return false, errors.New("it has exited")
		default:
		}
		list, err := clients.CoreV1().ServiceAccounts("default").List(ctx, listOne)
		return err == nil && len(list.Items) > 0, nil
	})
	if err != nil {
		return fmt.Errorf("the controller manager does not come up: %w", err)
	}
	return nil
}

// StopControllerManager stops it, as when a cluster's controllers are down.
func (c *Cluster) StopControllerManager() error {
	if c.controllerManager == nil {
		return nil
	}
	err := c.controllerManager.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.exited:
	case <-time.After(10 * time.Second):
		err = errors.Join(err, c.controllerManager.Process.Kill())
		<-c.exited
	}
	c.controllerManager = nil
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop stops everything and removes what was written.
func (c *Cluster) Stop() error {
	return errors.Join(c.StopControllerManager(), c.environment.Stop(), os.RemoveAll(c.folder))
}

// Kubectl returns a command that runs kubectl as the cluster admin.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	return c.KubectlAs(ctx, c.Kubeconfig, args...)
}

// KubectlAs returns a command that runs kubectl with a kubeconfig.
func (c *Cluster) KubectlAs(ctx context.Context, kubeconfig string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(c.assets, "kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	return command
}

func (c *Cluster) writeKubeconfig() error {
	return WriteKubeconfig(c.Kubeconfig, c.Config, "admin")
}

// WriteKubeconfig writes a kubeconfig for the config, readable by its owner only.
func WriteKubeconfig(path string, config *rest.Config, user string) error {
	return WriteContext(path, "dgbot", config, user)
}

// WriteContext is WriteKubeconfig with a name for the cluster and the context.
func WriteContext(path, name string, config *rest.Config, user string) error {
	file := clientcmdapi.NewConfig()
	file.Clusters[name] = &clientcmdapi.Cluster{Server: serverURL(config), CertificateAuthorityData: config.CAData}
	file.AuthInfos[user] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken,
	}
	file.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	file.CurrentContext = name
	content, err := clientcmd.Write(*file)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

func serverURL(config *rest.Config) string {
	if url, _, err := rest.DefaultServerUrlFor(config); err == nil {
		return url.String()
	}
	return config.Host
}
