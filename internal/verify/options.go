// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"dgbot.io/key-operator/internal/verify/feed"
	"dgbot.io/key-operator/internal/verify/serve"
	"dgbot.io/key-operator/internal/verify/usage"
)

// Options configure a Verifier, as its flags do.
type Options struct {
	// Environments and Namespaces select keys and chatbots; empty for all.
	Environments, Namespaces []string
	Bound                    feed.Bound
	// Register makes the process register by a Lease in Usage.Namespace. Pod is the name of the pod or host that the Lease names.
	Register bool
	Pod      string
	Serve    serve.Options
	Usage    usage.Options
}

// Validate returns an error that names the first flag with an invalid value.
func (o *Options) Validate() error {
	if err := o.Bound.Validate(); err != nil {
		return err
	}
	if err := o.Serve.Validate(); err != nil {
		return err
	}
	return o.Usage.Validate()
}
