// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// keepFiles lets etcd and the API server start again after a crash: their files lie in the cluster's folder, where envtest
// does not remove them with the process. Each writes its process number, which envtest does not tell.
func (c *Cluster) keepFiles() error {
	etcd, apiServer := &envtest.Etcd{}, c.environment.ControlPlane.GetAPIServer()
	c.environment.ControlPlane.Etcd = etcd
	etcd.DataDir, apiServer.CertDir = filepath.Join(c.folder, "etcd-data"), filepath.Join(c.folder, "apiserver-certs")
	etcd.Path, apiServer.Path = filepath.Join(c.folder, "etcd"), filepath.Join(c.folder, "kube-apiserver")
	return errors.Join(
		c.run.Script(etcd.Path, c.processName("etcd"), filepath.Join(c.assets, "etcd")),
		c.run.Script(apiServer.Path, c.processName("kube-apiserver"), filepath.Join(c.assets, "kube-apiserver")),
		os.Mkdir(etcd.DataDir, 0o700), os.Mkdir(apiServer.CertDir, 0o700),
	)
}

// processName is that of a program of this cluster among all of this process.
func (c *Cluster) processName(program string) string { return filepath.Base(c.folder) + "-" + program }

// EtcdURL is where etcd serves, without TLS or a password.
func (c *Cluster) EtcdURL() string { return c.environment.ControlPlane.Etcd.URL.String() }

// CrashEtcd kills etcd and starts it again with what it has on disk.
func (c *Cluster) CrashEtcd() error {
	if err := c.kill("etcd"); err != nil {
		return err
	}
	return c.environment.ControlPlane.Etcd.Start()
}

// CrashAPIServer kills the API server and starts it again at the same address.
func (c *Cluster) CrashAPIServer() error {
	if err := c.kill("kube-apiserver"); err != nil {
		return err
	}
	return c.environment.ControlPlane.GetAPIServer().Start()
}

// BackUpEtcd stops the API server and etcd, copies what etcd has on disk, and starts both again. It returns the copy's folder.
func (c *Cluster) BackUpEtcd() (backup string, err error) {
	if backup, err = os.MkdirTemp(c.folder, "etcd-backup-"); err != nil {
		return "", err
	}
	return backup, c.whileStopped(func(data string) error { return os.CopyFS(backup, os.DirFS(data)) })
}

// RestoreEtcd stops the API server and etcd, replaces what etcd has on disk with a backup, and starts both again. As with
// most backups, nothing raises the revisions: the API server goes on from those of the backup.
func (c *Cluster) RestoreEtcd(backup string) error {
	return c.whileStopped(func(data string) error {
		if err := os.RemoveAll(data); err != nil {
			return err
		}
		return os.CopyFS(data, os.DirFS(backup))
	})
}

// whileStopped changes etcd's files while neither etcd nor the API server runs.
func (c *Cluster) whileStopped(change func(data string) error) error {
	etcd, apiServer := c.environment.ControlPlane.Etcd, c.environment.ControlPlane.GetAPIServer()
	for _, program := range []string{"kube-apiserver", "etcd"} {
		if err := c.kill(program); err != nil {
			return err
		}
	}
	if err := change(etcd.DataDir); err != nil {
		return fmt.Errorf("etcd's files in %s: %w", etcd.DataDir, err)
	}
	if err := os.Chmod(etcd.DataDir, 0o700); err != nil {
		return err
	}
	if err := etcd.Start(); err != nil {
		return fmt.Errorf("starting etcd: %w", err)
	}
	return apiServer.Start()
}

// ProcessNumber returns that of etcd or kube-apiserver.
func (c *Cluster) ProcessNumber(program string) (int, error) {
	content, err := os.ReadFile(c.run.ProcessFile(c.processName(program)))
	if err != nil {
		return 0, fmt.Errorf("reading the process number of %s: %w", program, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(content)))
}

// kill ends a program and waits until it is gone.
func (c *Cluster) kill(program string) error {
	number, err := c.ProcessNumber(program)
	if err != nil {
		return err
	}
	if err := syscall.Kill(number, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", program, err)
	}
	for range 500 {
		if errors.Is(syscall.Kill(number, 0), syscall.ESRCH) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s is still there 5 s after SIGKILL", program)
}
