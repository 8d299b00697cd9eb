// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"dgbot.io/key-operator/test/controlplane"
)

// stack is a control plane with the operator as it is installed: CRDs, policies, RBAC, and the manager under its own
// service account, so that a missing right shows.
type stack struct {
	verbose bool

	cluster  *controlplane.Cluster
	folder   string
	logPath  string
	operator *controlplane.Program
}

func (s *stack) start(ctx context.Context) error {
	var err error
	if s.folder, err = os.MkdirTemp("", "dgbot-run-"); err != nil {
		return err
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"etcd and API server", func() (err error) {
			s.cluster, err = controlplane.Start(controlplane.Options{})
			return err
		}},
		{"CRDs, admission policies, RBAC (kubectl apply -k config/default)", func() error { return s.cluster.Install(ctx) }},
		{"controller manager (garbage collection, namespaces)", func() error { return s.cluster.StartControllerManager(ctx, nil) }},
		{"operator, as service account " + controlplane.OperatorNamespace + "/" + controlplane.OperatorAccount, func() error { return s.startOperator(ctx) }},
	}
	for _, step := range steps {
		began := time.Now()
		fmt.Printf("Starting %s ... ", step.what)
		if err := step.do(); err != nil {
			fmt.Println("failed")
			return err
		}
		fmt.Println(since(began))
	}
	return nil
}

func (s *stack) startOperator(ctx context.Context) error {
	s.logPath = filepath.Join(s.folder, "manager.log")
	log, err := os.OpenFile(s.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var output io.Writer = log
	if s.verbose {
		output = io.MultiWriter(log, os.Stderr)
	}
	s.operator, err = s.cluster.StartOperator(ctx, output)
	return err
}

// wait returns when interrupted, or when the operator has ended by itself.
func (s *stack) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.operator.Exited():
		return errors.Join(fmt.Errorf("the operator has ended: %w", s.operator.Err()), s.logTail())
	}
}

func (s *stack) stop() error {
	var err error
	if s.operator != nil {
		err = s.operator.Stop()
	}
	if s.cluster != nil {
		err = errors.Join(err, s.cluster.Stop())
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}

// logTail is the end of the operator's log as an error, for a reader who wonders why; nil before there is a log.
func (s *stack) logTail() error {
	content, err := os.ReadFile(s.logPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	lines = lines[max(0, len(lines)-15):]
	return fmt.Errorf("the operator's last lines:\n%s", bytes.Join(lines, []byte("\n")))
}
