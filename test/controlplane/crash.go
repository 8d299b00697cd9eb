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

// crashable makes etcd and the API server survive being killed: their files lie where nobody removes them with the
// process, and each writes its process number, which envtest does not tell.
func (c *Cluster) crashable() error {
	etcd, apiServer := &envtest.Etcd{}, c.environment.ControlPlane.GetAPIServer()
	c.environment.ControlPlane.Etcd = etcd
	etcd.DataDir, apiServer.CertDir = filepath.Join(c.folder, "etcd-data"), filepath.Join(c.folder, "apiserver-certs")
	var err error
	if etcd.Path, err = c.numbered("etcd"); err != nil {
		return err
	}
	if apiServer.Path, err = c.numbered("kube-apiserver"); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(etcd.DataDir, 0o700), os.Mkdir(apiServer.CertDir, 0o700))
}

// numbered returns a script that leaves the process number in a file and becomes the program.
func (c *Cluster) numbered(program string) (path string, err error) {
	path = filepath.Join(c.folder, program)
	script := fmt.Sprintf("#!/bin/sh\necho $$ > %q\nexec %q \"$@\"\n", path+".pid", filepath.Join(c.assets, program))
	return path, os.WriteFile(path, []byte(script), 0o700)
}

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

// ProcessNumber is that of etcd or kube-apiserver.
func (c *Cluster) ProcessNumber(program string) (int, error) {
	content, err := os.ReadFile(filepath.Join(c.folder, program+".pid"))
	if err != nil {
		return 0, fmt.Errorf("%s was not started to be crashed (Options.Crashable): %w", program, err)
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
