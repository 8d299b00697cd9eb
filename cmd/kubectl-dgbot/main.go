// SPDX-License-Identifier: Apache-2.0

// Command kubectl-dgbot is a plugin of kubectl: as long as it is in the PATH, 'kubectl dgbot' runs it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	// Dry runs evaluate windows, which have time zones, and not every machine has a time zone database.
	_ "time/tzdata"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"dgbot.io/key-operator/internal/cli"
	"dgbot.io/key-operator/internal/cli/exit"
)

// interrupted is what shells report of a command that Ctrl-C has ended.
const interrupted = 130

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		// A command that waits for a cluster ends by itself; one that reads standard input or a pipe does not.
		time.Sleep(time.Second)
		os.Exit(interrupted)
	})
	err := cli.NewCommand(genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}).ExecuteContext(ctx)
	code := exit.Report(os.Stderr, err)
	if ctx.Err() != nil {
		code = interrupted
	}
	stop()
	os.Exit(code)
}
