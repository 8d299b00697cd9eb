// SPDX-License-Identifier: Apache-2.0

// Package program holds what the manager and the verifier have in common as programs: their flags for logging, --version and
// --kubeconfig, the connection to the API server, and how they report an error.
package program

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr"
	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the ways to log in that a kubeconfig can name
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	kubeconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"dgbot.io/key-operator/internal/version"
)

// bodyLevel is the verbosity from which on client-go prints whole requests and answers: key text, HMAC secrets and tokens among them.
const bodyLevel = 8

const (
	inClusterNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	defaultNamespace   = "dgbot-system"
)

// Main runs a program with the arguments of the process. After an error it prints the error and exits with code 1.
func Main(name string, run func(args []string) error) {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Flags returns the flag set of a program. It is the global one, where controller-runtime registers --kubeconfig.
func Flags(name, about string) *flag.FlagSet {
	flags := flag.CommandLine
	flags.Init(name, flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprintf(flags.Output(), "%s\n\nUsage: %s [flags]\n\n", about, name)
		flags.PrintDefaults()
	}
	return flags
}

// Parse adds --version and the flags for logging to a program's own flags, and parses the arguments. It returns flag.ErrHelp after
// --help and --version, when the program has nothing else to do.
func Parse(flags *flag.FlagSet, args []string) (*zap.Options, error) {
	showVersion := flags.Bool("version", false, "Print the version and exit.")
	logging := &zap.Options{TimeEncoder: zapcore.RFC3339TimeEncoder}
	logging.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *showVersion {
		fmt.Println(flags.Name(), version.Get())
		return nil, flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: the %s takes flags only, see --help", flags.Arg(0), flags.Name())
	}
	return logging, nil
}

// ErrNoServer is the error of Connect if no API server is named.
var ErrNoServer = errors.New("no API server to talk to (name one with --kubeconfig)")

// Connect returns the configuration for the API server that --kubeconfig, the environment or the cluster names, and the logger, which it
// also sets for controller-runtime and client-go. There is a logger even if the error is ErrNoServer.
func Connect(name string, logging *zap.Options) (*rest.Config, logr.Logger, error) {
	limitVerbosity(name, logging)
	// Before there is a logger, which would put a stack trace in front of the error.
	config, err := ctrl.GetConfig()
	if err != nil {
		err = fmt.Errorf("%w: %w", errNamed(), err)
	}
	logger := zap.New(zap.UseFlagOptions(logging))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	return config, logger, err
}

// errNamed returns ErrNoServer, or another error if a kubeconfig is named, which then cannot be used.
func errNamed() error {
	if named := flag.Lookup(kubeconfig.KubeconfigFlagName); named != nil && named.Value.String() != "" || os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "" {
		return errors.New("the kubeconfig cannot be used")
	}
	return ErrNoServer
}

// limitVerbosity keeps the verbosity below bodyLevel.
func limitVerbosity(name string, logging *zap.Options) {
	if logging.Level != nil && logging.Level.Enabled(-bodyLevel) {
		fmt.Fprintf(os.Stderr, "%s: --zap-log-level is held to %d: from %d on, keys in plaintext would be logged\n", name, bodyLevel-1, bodyLevel)
		level := uberzap.NewAtomicLevelAt(-(bodyLevel - 1))
		logging.Level = &level
	}
}

// OwnNamespace returns the namespace of the pod that the program runs in; outside of a cluster, the namespace that config installs into.
func OwnNamespace() string {
	if content, err := os.ReadFile(inClusterNamespace); err == nil {
		return strings.TrimSpace(string(content))
	}
	return defaultNamespace
}
