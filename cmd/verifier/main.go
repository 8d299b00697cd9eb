// SPDX-License-Identifier: Apache-2.0

// Command verifier answers from memory whether a DGbot API key is valid, over HTTP and Envoy's ext_authz.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"dgbot.io/key-operator/internal/connlimit"
	"dgbot.io/key-operator/internal/program"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/verify"
)

const name = "verifier"

// podName is the environment variable that holds the name of the pod.
const podName = "POD_NAME"

const about = "The DGbot verifier: answers from memory whether an API key is good, and whether a visitor is who a customer's server says."

func main() { program.Main(name, run) }

func run(args []string) error {
	options, logging, err := parse(args)
	if err != nil {
		return err
	}
	config, logger, err := program.Connect(name, logging)
	// A file of sources can name all API servers. Then the verifier needs none of its own.
	if err != nil && (options.SourceConfig == "" || !errors.Is(err, program.ErrNoServer)) {
		return err
	}
	if options.Usage.Identity, err = os.Hostname(); err != nil {
		return err
	}
	options.Pod = cmp.Or(os.Getenv(podName), options.Usage.Identity)
	connlimit.CollectEarly()
	verifier, err := verify.New(config, options, logger)
	if err != nil {
		return err
	}
	return verifier.Run(ctrl.SetupSignalHandler())
}

func parse(args []string) (verify.Options, *zap.Options, error) {
	var options verify.Options
	flags := program.Flags(name, about)
	flags.StringVar(&options.Serve.HTTPBindAddress, "http-bind-address", ":8080",
		"Address for POST /v1/verify, /check, POST /v1/identity/verify, /healthz and /readyz; 0 for none. Service dgbot-verifier has port 80 for it.")
	flags.StringVar(&options.Serve.GRPCBindAddress, "grpc-bind-address", ":9090",
		"Address for Envoy's ext_authz (envoy.service.auth.v3.Authorization) and gRPC health; 0 for none.")
	flags.StringVar(&options.Serve.MetricsBindAddress, "metrics-bind-address", ":8082",
		"Address for metrics, which hold no key and no key ID; 0 for none.")
	flags.BoolVar(&options.Serve.MetricsSecure, "metrics-secure", true,
		"Serve metrics over TLS to clients whose token may GET /metrics. Needs the right to create tokenreviews and "+
			"subjectaccessreviews. With =false, serve them without TLS to every client that can connect.")
	flags.StringVar(&options.SourceConfig, "source-config", "",
		"File that names the clusters whose keys the verifier accepts, and what each may vouch for; read again when it or a kubeconfig in it changes. "+
			"Without it, the keys of one cluster: that of --kubeconfig, or the one that the verifier runs in.")
	flags.Var((*names)(&options.Environments), "environment",
		"Environment to accept keys and identities of; repeat the flag for more. By default all. The verifier rejects those of others. "+
			"Not with --source-config.")
	flags.Var((*names)(&options.Namespaces), "namespace",
		"Namespace to accept keys and identities of; repeat the flag for more. By default all. Not with --source-config.")
	flags.DurationVar(&options.Bound.MaxStaleness, "max-staleness", 2*time.Minute,
		"How long the verifier answers after it last heard from the API server; at least 5s. A key that is revoked meanwhile is accepted for at most that long.")
	flags.Var(onStale{&options.Bound.Serve}, "on-stale",
		"What the verifier does after --max-staleness: deny every request with 503, or serve by the records that it has, however old (default deny).")
	flags.StringVar(&options.Serve.TLSCertFile, "tls-cert-file", "", "Certificate to serve with, in PEM; the verifier reads it again when it changes. Without it, there is no TLS.")
	flags.StringVar(&options.Serve.TLSKeyFile, "tls-key-file", "", "Private key of the certificate, in PEM.")
	flags.IntVar(&options.Serve.MaxConnections, "max-connections", 0,
		"How many connections the HTTP and the gRPC listener each accept at once; they close further ones. "+
			"0: by the memory limit (GOMEMLIMIT, else the cgroup's), one for each 512Ki for HTTP and one for each 3Mi for gRPC.")
	flags.DurationVar(&options.Serve.DrainDelay, "drain-delay", 5*time.Second,
		"How long the verifier accepts requests after SIGTERM, while /readyz fails; at most 1m.")
	flags.DurationVar(&options.Usage.FlushInterval, "usage-flush-interval", 30*time.Second,
		"How often the verifier looks for uses to report in the status of records; 100ms to 5m.")
	flags.DurationVar(&options.Usage.Resolution, "usage-resolution", 10*time.Minute,
		"The least time between two reports about one key, after the first; 1s to 24h.")
	flags.StringVar(&options.Usage.Namespace, "usage-namespace", program.OwnNamespace(),
		"Namespace of the Leases of verifiers, by default the verifier's own: dgbot-verifier-<pod>-<random>, the registration of this verifier, and "+
			"dgbot-usage-<environment>, which hold since when usage is tracked. With --namespace, the verifier renews none of the latter.")
	flags.BoolVar(&options.Register, "register", true,
		"Register this verifier by a Lease in --usage-namespace, so that the operator knows when it rejects a withdrawn key. The Lease is named after "+
			"the pod ("+podName+", by default the host name). If it cannot be renewed for --max-staleness, the verifier is stale. With =false, "+
			"revocations are not proven for this verifier.")
	logging, err := program.Parse(flags, args)
	if err != nil {
		return options, nil, err
	}
	return options, logging, options.Validate()
}

// names is a flag that can be given repeatedly.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

func (n *names) Set(value string) error {
	if value == "" {
		return errors.New("is empty: leave the flag out for all")
	}
	*n = append(*n, value)
	return nil
}

// onStale is the flag of that name.
type onStale struct{ serve *bool }

func (o onStale) String() string {
	if o.serve != nil && *o.serve {
		return registration.OnStaleServe
	}
	return ""
}

func (o onStale) Set(value string) error {
	if value != registration.OnStaleDeny && value != registration.OnStaleServe {
		return fmt.Errorf("want %s or %s", registration.OnStaleDeny, registration.OnStaleServe)
	}
	*o.serve = value == registration.OnStaleServe
	return nil
}
