// SPDX-License-Identifier: Apache-2.0

// Command manager is the DGbot key operator: it reconciles DGbotAPIKeys into hashed records and Secrets.
package main

import (
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"dgbot.io/key-operator/controllers"
	"dgbot.io/key-operator/internal/listening"
	"dgbot.io/key-operator/internal/program"
)

const name = "manager"

const about = "The DGbot key operator: turns DGbotAPIKeys into hashed records and Secrets, gives DGbotChatbots their\n" +
	"IDs and HMAC secrets, and holds keys to the rules of their DGbotEnvironments."

func main() { program.Main(name, run) }

func run(args []string) error {
	options, logging, err := parse(args)
	if err != nil {
		return err
	}
	config, _, err := program.Connect(name, logging)
	if err != nil {
		return err
	}
	// The API server's priority and fairness protects it; a limit here would only make healthy keys wait for others.
	config.QPS, config.Burst = -1, -1
	manager, err := controllers.NewManager(config, options)
	if err != nil {
		return listening.Explain("health-probe-bind-address", options.HealthProbeBindAddress, err)
	}
	return listening.Explain("metrics-bind-address", options.MetricsBindAddress, manager.Start(ctrl.SetupSignalHandler()))
}

func parse(args []string) (controllers.Options, *zap.Options, error) {
	var options controllers.Options
	flags := program.Flags(name, about)
	flags.BoolVar(&options.LeaderElect, "leader-elect", true,
		"Work only while holding the lease. Without it several managers work at once, which is safe and wasteful.")
	flags.StringVar(&options.LeaderElectionNamespace, "leader-election-namespace", program.OwnNamespace(),
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
	flags.StringVar(&options.UsageNamespace, "usage-namespace", program.OwnNamespace(),
		"Namespace of the Leases by which verifiers say since when they have reported uses, their --usage-namespace; by default the one the manager runs in.")
	flags.BoolVar(&options.RequireEnvironment, "require-environment", true,
		"Issue a key for the first time only if its environment has a DGbotEnvironment; keys that were issued go on without one. With false, such a key's own spec is all that applies.")
	logging, err := program.Parse(flags, args)
	if err != nil {
		return options, nil, err
	}
	return options, logging, options.Validate()
}
