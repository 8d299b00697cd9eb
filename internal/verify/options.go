// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"dgbot.io/key-operator/internal/verify/feed"
	"dgbot.io/key-operator/internal/verify/serve"
	"dgbot.io/key-operator/internal/verify/usage"
)

// Options are what the flags say.
type Options struct {
	// Environments and Namespaces are those whose keys are known; empty for all.
	Environments, Namespaces []string
	Bound                    feed.Bound
	Serve                    serve.Options
	Usage                    usage.Options
}

// Validate returns what is wrong with the options.
func (o *Options) Validate() error {
	if err := o.Bound.Validate(); err != nil {
		return err
	}
	if err := o.Serve.Validate(); err != nil {
		return err
	}
	return o.Usage.Validate()
}
