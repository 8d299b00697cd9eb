// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is a running program, such as a manager or a verifier.
type Program struct {
	command *exec.Cmd
	exited  chan struct{}
	err     error
}

// Start starts a command as a Program.
func Start(command *exec.Cmd) (*Program, error) {
	p := &Program{command: command, exited: make(chan struct{})}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.command.Wait()
		close(p.exited)
	}()
	return p, nil
}

// ProcessNumber is the program's.
func (p *Program) ProcessNumber() int { return p.command.Process.Pid }

// Exited is closed when the program has ended; Err says how.
func (p *Program) Exited() <-chan struct{} { return p.exited }

// Err returns how the program ended.
func (p *Program) Err() error { return p.err }

// Stop ends the program as Kubernetes does: SIGTERM, and SIGKILL where that is ignored.
func (p *Program) Stop() error {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(15 * time.Second):
		return errors.Join(errors.New("the program ignored SIGTERM"), p.Kill())
	}
}

// Pause stops the program in its tracks, as a machine that is suspended does; Resume lets it go on.
func (p *Program) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused program go on.
func (p *Program) Resume() error { return p.signal(syscall.SIGCONT) }

func (p *Program) signal(signal syscall.Signal) error {
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill ends the program at once, between whatever two writes it is.
func (p *Program) Kill() error {
	err := p.command.Process.Kill()
	<-p.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
