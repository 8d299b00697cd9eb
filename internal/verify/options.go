// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"fmt"

	"dgbot.io/key-operator/internal/verify/feed"
	"dgbot.io/key-operator/internal/verify/serve"
	"dgbot.io/key-operator/internal/verify/source"
	"dgbot.io/key-operator/internal/verify/usage"
)

// Options configure a Verifier, as its flags do.
type Options struct {
	// SourceConfig is the path of the file that names the clusters to follow; empty for one cluster.
	SourceConfig string
	// Environments and Namespaces select keys and chatbots of the one cluster; empty for all.
	Environments, Namespaces []string
	Bound                    feed.Bound
	// Register makes the process register by a Lease in Usage.Namespace. Pod is the name of the pod or host that the Lease names.
	Register bool
	Pod      string
	Serve    serve.Options
	Usage    usage.Options
}

// Validate returns an error that names the first flag with an invalid value. It does not read the file of SourceConfig.
func (o *Options) Validate() error {
	if o.SourceConfig != "" && len(o.Environments)+len(o.Namespaces) > 0 {
		return errors.New("--environment and --namespace cannot be combined with --source-config: name environments and namespaces of each source in its file")
	}
	if err := o.Bound.Validate(); err != nil {
		return err
	}
	if o.Register {
		if err := source.CheckWatches(o.Environments, o.Namespaces); err != nil {
			return fmt.Errorf("--namespace and --environment: %w", err)
		}
	}
	if err := o.Serve.Validate(); err != nil {
		return err
	}
	return o.Usage.Validate()
}

// entries returns the sources: those of the file or, without a file, one without a name.
func (o *Options) entries() ([]source.Entry, error) {
	if o.SourceConfig == "" {
		return []source.Entry{{Environments: o.Environments, Namespaces: o.Namespaces}}, nil
	}
	entries, err := source.Read(o.SourceConfig, o.Register)
	if err != nil {
		return nil, fmt.Errorf("--source-config: %w", err)
	}
	return entries, nil
}
