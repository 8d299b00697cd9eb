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

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
	"dgbot.io/key-operator/internal/testenv/scenario"
)

// stack is a control plane with operator and verifier as they are installed: CRDs, policies, RBAC, and each under its own
// service account, so that a missing right shows.
type stack struct {
	verbose bool

	cluster  *controlplane.Cluster
	folder   string
	operator *process.Program
	verifier testenv.Verifier
	// logPaths are those of the programs that were started.
	logPaths []string
}

func (s *stack) start(ctx context.Context) error {
	var err error
	if s.folder, err = process.TempDir("logs"); err != nil {
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
		{"CRDs, admission policies, RBAC, environments (kubectl apply -k config/default, then config/environments)", func() error { return s.cluster.Install(ctx) }},
		{"controller manager (garbage collection, namespaces)", func() error { return s.cluster.StartControllerManager(ctx, nil) }},
		{"operator, as service account " + controlplane.OperatorNamespace + "/" + controlplane.OperatorAccount, func() error { return s.startOperator(ctx) }},
		{"verifier (kubectl apply -k config/verifier), as service account " + controlplane.OperatorNamespace + "/" + controlplane.VerifierAccount, func() error { return s.startVerifier(ctx) }},
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
	log, err := s.openLog("manager.log")
	if err != nil {
		return err
	}
	s.operator, err = s.cluster.StartOperator(ctx, log)
	return err
}

func (s *stack) startVerifier(ctx context.Context) error {
	if err := s.cluster.InstallFrom(ctx, filepath.Join(controlplane.Repository(), "config", "verifier")); err != nil {
		return err
	}
	log, err := s.openLog("verifier.log")
	if err != nil {
		return err
	}
	if s.verifier.Address, err = process.FreeAddress(); err != nil {
		return err
	}
	args := append([]string{"--http-bind-address=" + s.verifier.Address}, scenario.VerifierArgs...)
	if s.verifier.Program, err = s.cluster.StartVerifier(ctx, log, args...); err != nil {
		return err
	}
	return s.verifier.AwaitReady(ctx, 50*time.Millisecond, 30*time.Second)
}

// openLog returns where a program's log goes: a file, and the terminal if asked for.
func (s *stack) openLog(name string) (io.Writer, error) {
	path := filepath.Join(s.folder, name)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // a name of ours
	if err != nil {
		return nil, err
	}
	s.logPaths = append(s.logPaths, path)
	if s.verbose {
		return io.MultiWriter(log, os.Stderr), nil
	}
	return log, nil
}

// wait returns when interrupted, or when operator or verifier has ended by itself.
func (s *stack) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.operator.Exited():
		return errors.Join(fmt.Errorf("the operator has ended: %w", s.operator.Err()), s.logTail())
	case <-s.verifier.Exited():
		return errors.Join(fmt.Errorf("the verifier has ended: %w", s.verifier.Err()), s.logTail())
	}
}

func (s *stack) stop() error {
	var err error
	for _, program := range []*process.Program{s.verifier.Program, s.operator} {
		if program != nil {
			err = errors.Join(err, program.Stop())
		}
	}
	if s.cluster != nil {
		err = errors.Join(err, s.cluster.Stop())
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}

// logTail is the end of each log as an error, for a reader who wonders why; nil before there is one.
func (s *stack) logTail() (tails error) {
	for _, path := range s.logPaths {
		content, err := os.ReadFile(path) //nolint:gosec // a name of ours
		if err != nil {
			return errors.Join(tails, err)
		}
		lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
		lines = lines[max(0, len(lines)-15):]
		tails = errors.Join(tails, fmt.Errorf("the last lines of %s:\n%s", filepath.Base(path), bytes.Join(lines, []byte("\n"))))
	}
	return tails
}
