// SPDX-License-Identifier: Apache-2.0

// Command manager is the DGbot key operator: it reconciles DGbotAPIKeys into hashed records and Secrets.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"dgbot.io/key-operator/controllers"
	"dgbot.io/key-operator/internal/listening"
	"dgbot.io/key-operator/internal/version"
)

// bodyLevel is the verbosity from which on client-go prints requests and answers whole: published keys among them.
const bodyLevel = 8

const (
	inClusterNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	defaultNamespace   = "dgbot-system"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	options, logging, err := parse(args)
	if err != nil {
		return err
	}
	// Before there is a logger, which would put a stack trace in front of the answer.
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no API server to talk to: %w (name one with --kubeconfig)", err)
	}
	logger := zap.New(zap.UseFlagOptions(logging))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)

	// The API server's priority and fairness protects it; a limit here would only make healthy keys wait for others.
	config.QPS, config.Burst = -1, -1
	manager, err := controllers.NewManager(config, options)
	if err != nil {
		return listening.Explain("health-probe-bind-address", options.HealthProbeBindAddress, err)
	}
	return listening.Explain("metrics-bind-address", options.MetricsBindAddress, manager.Start(ctrl.SetupSignalHandler()))
}

// parse uses the global flag set: controller-runtime registers --kubeconfig there.
func parse(args []string) (controllers.Options, *zap.Options, error) {
	var options controllers.Options
	flags := flag.CommandLine
	flags.Init("manager", flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), "The DGbot key operator: turns DGbotAPIKeys into hashed records and Secrets, gives DGbotChatbots their\nIDs and HMAC secrets, and holds keys to the rules of their DGbotEnvironments.\n\nUsage: manager [flags]\n\n")
		flags.PrintDefaults()
	}
	flags.BoolVar(&options.LeaderElect, "leader-elect", true,
		"Work only while holding the lease. Without it several managers work at once, which is safe and wasteful.")
	flags.StringVar(&options.LeaderElectionNamespace, "leader-election-namespace", ownNamespace(),
		"Namespace of the lease; by default the one the manager runs in.")
	flags.StringVar(&options.MetricsBindAddress, "metrics-bind-address", ":8443",
		"Address for metrics, over TLS, to those who may GET /metrics; 0 for none.")
	flags.StringVar(&options.HealthProbeBindAddress, "health-probe-bind-address", ":8081",
		"Address for /healthz and /readyz; 0 for none.")
	flags.IntVar(&options.MaxConcurrentReconciles, "max-concurrent-reconciles", 8,
		"How many keys are worked on at once, and chatbots and environments likewise; at least 1.")
	flags.Var(&options.WatchNamespaces, "watch-namespaces",
		"Namespaces to work in, separated by commas or given repeatedly; by default all. Each needs the manager's Role.")
	flags.StringVar(&options.SecretAccess, "secret-access", controllers.SecretAccessWatch,
		"How changes of Secrets are noticed: watch, or get-only, which needs no right to list or watch Secrets.")
	flags.DurationVar(&options.SecretCheckInterval, "secret-check-interval", 5*time.Minute,
		"With get-only, how often each key's and chatbot's Secret is looked at; at least 1s.")
	flags.StringVar(&options.UsageNamespace, "usage-namespace", ownNamespace(),
		"Namespace of the Leases by which verifiers say since when they have reported uses, their --usage-namespace; by default the one the manager runs in.")
	flags.BoolVar(&options.RequireEnvironment, "require-environment", true,
		"Issue a key for the first time only if its environment has a DGbotEnvironment; keys that were issued go on without one. With false, such a key's own spec is all that applies.")
	showVersion := flags.Bool("version", false, "Print the version and exit.")
	logging := &zap.Options{TimeEncoder: zapcore.RFC3339TimeEncoder}
	logging.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		return options, nil, err
	}
	if *showVersion {
		fmt.Println("manager", version.Get())
		return options, nil, flag.ErrHelp // as after --help, there is nothing else to do
	}
	if flags.NArg() > 0 {
		return options, nil, fmt.Errorf("unexpected argument %q: the manager takes flags only, see --help", flags.Arg(0))
	}
	if err := options.Validate(); err != nil {
		return options, nil, err
	}
	if logging.Level != nil && logging.Level.Enabled(-bodyLevel) {
		fmt.Fprintf(os.Stderr, "manager: --zap-log-level is held to %d: from %d on, keys in plaintext would be logged\n", bodyLevel-1, bodyLevel)
		level := uberzap.NewAtomicLevelAt(-(bodyLevel - 1))
		logging.Level = &level
	}
	return options, logging, nil
}

func ownNamespace() string {
	if content, err := os.ReadFile(inClusterNamespace); err == nil {
		return strings.TrimSpace(string(content))
	}
	return defaultNamespace
}
