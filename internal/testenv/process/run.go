// SPDX-License-Identifier: Apache-2.0

// Package process runs programs that end with this process, whatever ends it, and tells what they use. It also makes temporary folders and
// reserves addresses for them.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Run represents the lifetime of this process. Its folder holds all temporary files; its cleanup process ends every program
// that was started here and removes the folder, as soon as this process has ended for whatever reason, SIGKILL included.
//
// The kernel closes the pipe that the cleanup process reads. Linux alone has Pdeathsig, which fires when the thread that
// started the program ends, and which envtest does not set for etcd and the API server.
type Run struct {
	folder string
	// lock stays open as long as the process lives: another run removes a folder only if it can lock this file.
	lock *os.File
	// alive is the end of the pipe that only this process holds.
	alive *os.File
}

const (
	runPrefix = "dgbot-run-"
	// lockName and openName are files in the folder of a run. Without openName no further program starts.
	lockName, openName, processesName = "lock", "open", "processes"
)

// cleanup reads standard input until every writer has ended, kills the programs of the run in folder $1, and removes the
// folder. A process counts as one of the run only if its command line contains the folder: its number may have been reused.
const cleanup = `trap '' HUP INT TERM QUIT
read -r _
rm -f "$1/open"
arguments() {
  if [ -d /proc/self ]; then tr '\0' ' ' <"/proc/$1/cmdline"; else ps -ww -o command= -p "$1"; fi 2>/dev/null
}
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  running=
  for file in "$1"/processes/*; do
    number=$(cat "$file" 2>/dev/null) && [ -n "$number" ] || continue
    case $(arguments "$number") in *"$1"*) kill -KILL "$number"; running=yes ;; esac
  done
  [ -n "$running" ] || break
  sleep 0.1
done
rm -rf "$1"
`

// launcher writes the process number to the file $1 and becomes the program $3. The cleanup process removes the file $2
// before it reads the numbers: either it finds this one, or the program does not start.
const launcher = `echo $$ >"$1" && [ -e "$2" ] && shift 2 && exec "$@"` + "\n"

// CurrentRun returns the run of this process, and starts its cleanup process at the first call.
var CurrentRun = sync.OnceValues(func() (*Run, error) {
	removeDeadRuns()
	return newRun((*exec.Cmd).Start)
})

// TempDir creates a folder that is removed at the latest when this process has ended, whatever ends it.
func TempDir(name string) (string, error) {
	r, err := CurrentRun()
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(r.folder, name+"-")
}

// newRun creates the folder of a run, and starts its cleanup process by start. If it fails, it leaves nothing behind.
func newRun(start func(*exec.Cmd) error) (r *Run, err error) {
	folder, err := os.MkdirTemp("", runPrefix)
	if err != nil {
		return nil, err
	}
	r = &Run{folder: folder}
	defer func() {
		if err != nil {
			err, r = errors.Join(err, r.discard()), nil
		}
	}()
	// Locked before it has its name: another run never sees an unlocked file of a process that lives.
	if r.lock, err = lockFile(filepath.Join(folder, lockName+".new"), os.O_CREATE|os.O_EXCL); err != nil {
		return r, err
	}
	if err := errors.Join(
		os.Rename(r.lock.Name(), filepath.Join(folder, lockName)),
		os.Mkdir(filepath.Join(folder, processesName), 0o700),
		os.WriteFile(filepath.Join(folder, openName), nil, 0o600),
	); err != nil {
		return r, err
	}
	read, alive, err := os.Pipe()
	if err != nil {
		return r, err
	}
	defer func() { _ = read.Close() }()
	r.alive = alive
	command := cleanupCommand(folder)
	command.Stdin = read
	if err := start(command); err != nil {
		return r, fmt.Errorf("starting the cleanup process of %s: %w", folder, err)
	}
	go func() { _ = command.Wait() }()
	return r, nil
}

// discard removes what newRun has created of a run that has no cleanup process.
func (r *Run) discard() error {
	var errs []error
	for _, file := range []*os.File{r.lock, r.alive} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(r.folder))...)
}

// cleanupCommand runs in a session of its own: neither Ctrl-C nor a closed terminal reaches it.
func cleanupCommand(folder string) *exec.Cmd {
	command := exec.Command("/bin/sh", "-c", cleanup, "dgbot-cleanup", folder)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return command
}

func lockFile(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|flags, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// removeDeadRuns ends what is left of runs whose cleanup process was killed as well, such as by a restart of the machine.
// What it cannot remove it names on standard error: the new run does not need it.
func removeDeadRuns() {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), runPrefix+"*"))
	if err != nil {
		folders = nil // the name of the temporary folder is no pattern
	}
	for _, folder := range folders {
		if err := removeDeadRun(folder); err != nil {
			fmt.Fprintf(os.Stderr, "removing %s of a run that has ended: %v; remove it by hand\n", folder, err)
		}
	}
}

// removeDeadRun removes a folder if this user owns it and no process holds its lock.
func removeDeadRun(folder string) error {
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() {
		return nil // another run removed it
	}
	if owner, known := info.Sys().(*syscall.Stat_t); !known || int(owner.Uid) != os.Getuid() {
		return nil
	}
	lock, err := lockFile(filepath.Join(folder, lockName), 0)
	switch {
	case err == nil:
		defer func() { _ = lock.Close() }()
	case errors.Is(err, os.ErrNotExist) && time.Since(info.ModTime()) > time.Hour:
		// Its process ended before it had a lock, which takes milliseconds.
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.EWOULDBLOCK):
		return nil
	default:
		return err
	}
	if out, err := cleanupCommand(folder).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// Folder returns the folder with all temporary files of the run.
func (r *Run) Folder() string { return r.folder }

// ProcessFile returns the path of the file to which the program of a name writes its process number.
func (r *Run) ProcessFile(name string) string { return filepath.Join(r.folder, processesName, name) }

// Command returns a command that runs a program until it ends, or this process does. The name is that of its process file.
// Ctrl-C reaches this process only, which stops programs in the right order.
func (r *Run) Command(name, program string, args ...string) *exec.Cmd {
	script := []string{"-c", launcher, "dgbot-launcher", r.ProcessFile(name), filepath.Join(r.folder, openName), program}
	command := exec.Command("/bin/sh", append(script, args...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return command
}

// Script writes an executable file that runs a program in the same way, for callers that take a path only.
func (r *Run) Script(path, name, program string) error {
	words := []string{"set", "--"}
	for _, word := range []string{r.ProcessFile(name), filepath.Join(r.folder, openName), program} {
		words = append(words, Quote(word))
	}
	return os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(words, " ")+` "$@"`+"\n"+launcher), 0o700)
}

// Quote returns a text as one word of a shell's command line.
func Quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
