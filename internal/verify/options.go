// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"

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
	if size := o.statedSize(); o.Register && size > maxStatedSize {
		return fmt.Errorf("--namespace and --environment make %d watches, whose registration takes %d bytes: want at most %d; "+
			"run several verifiers, or set --register=false", max(len(o.Namespaces), 1)*max(len(o.Environments), 1), size, maxStatedSize)
	}
	if err := o.Serve.Validate(); err != nil {
		return err
	}
	return o.Usage.Validate()
}

// maxStatedSize is the largest size in bytes of the versions in a registration. An admission policy bounds its annotations to 64 KiB.
const maxStatedSize = 60 << 10

// statedSize returns the size in bytes that the versions of all watches can take in the registration.
func (o *Options) statedSize() int {
	const version = len("/=18446744073709551615,")
	namespaces, environments := max(len(o.Namespaces), 1), max(len(o.Environments), 1)
	size := namespaces * environments * version
	for _, name := range o.Namespaces {
		size += len(name) * environments
	}
	for _, name := range o.Environments {
		size += len(name) * namespaces
	}
	return size
}
