// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/cli/target"
)

// shutdownTime is how long open streams have to end after an interrupt.
const shutdownTime = 500 * time.Millisecond

// dashboard is one call of the verb.
type dashboard struct {
	session *session.Session
	scope   target.Scope
	port    uint16
}

// New makes the verb dashboard.
func New(s *session.Session) *cobra.Command {
	d := &dashboard{session: s}
	c := &cobra.Command{
		Use:   "dashboard",
		Short: "Show keys on a live page in the browser",
		Long: `Serves a page on this machine that shows keys by environment, with their state, last use, next rotation, revisions and audit stage. The page
follows the cluster by a watch. It reads DGbotAPIKeys with your rights, and nothing else: it never shows a key or another secret, and it
changes nothing.

Open the address that it prints. The address has a random part, so that other users and web pages cannot read the page. Ctrl-C ends it.`,
		Example: `  kubectl dgbot dashboard -A
  kubectl dgbot dashboard -n support --port 8088`,
		Args: func(_ *cobra.Command, arguments []string) error { return d.scope.Check("dashboard", arguments) },
		RunE: func(c *cobra.Command, _ []string) error { return d.run(c.Context()) },
	}
	d.scope.AddFlags(c)
	c.Flags().Uint16Var(&d.port, "port", 0, "Port of the loopback interface; 0 for a free one")
	return c
}

// run serves the page until ctx ends.
func (d *dashboard) run(ctx context.Context) error {
	cluster, err := d.session.Connect()
	if err != nil {
		return err
	}
	namespace, where := d.scope.In(cluster)
	informer, err := cluster.WatchKeys(namespace, d.scope.Selector)
	if err != nil {
		return err
	}
	followed, err := follow(informer)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(d.port))))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	page := newPage(listener.Addr().String(), func() view { return viewOf(followed.list(), where, d.session.Clock.Now(), followed.failure()) }, followed.changed)
	server := &http.Server{Handler: page, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	go informer.RunWithContext(ctx)
	if err := display.Writef(d.session.Streams.Out, "%s\n", page.address()); err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		ending, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer done()
		_ = server.Shutdown(ending)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
