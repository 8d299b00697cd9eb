// SPDX-License-Identifier: Apache-2.0

// Package source follows one of the clusters whose keys a verifier accepts: it reads from its API server, registers and reports uses there. It
// also reads the file that names the clusters.
package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/verify/index"
)

// Entry says which cluster a source follows, and what this cluster may vouch for.
type Entry struct {
	// Name names the source in answers, metrics and the log.
	Name string `json:"name"`
	// Kubeconfig is the path of a kubeconfig, relative to the folder of the file; empty for the cluster that the verifier runs in or --kubeconfig names.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// UsageNamespace is the namespace of the registration there; empty for --usage-namespace.
	UsageNamespace string `json:"usageNamespace,omitempty"`
	// Environments are those for which the cluster may vouch. Only the first source can leave them out: then it may vouch for all.
	Environments []string `json:"environments,omitempty"`
	// Namespaces are those whose records count; empty for all.
	Namespaces []string `json:"namespaces,omitempty"`
	// Scopes are those that keys can have; empty for all. A scope of a record that none of them covers is left out.
	Scopes []v1alpha1.Scope `json:"scopes,omitempty"`
	// MaxRecords is the largest number of records; nil for no limit. Read sets it to defaultRecords where all but the first source leave it out.
	MaxRecords *int64 `json:"maxRecords,omitempty"`
}

// defaultRecords bounds a cluster that is not the first: to about 6 MiB, and to 80 MiB if each record is as large as the verifier accepts it.
const defaultRecords = 20_000

// Limits returns the limits of the records.
func (e *Entry) Limits() index.Limits {
	limits := index.Limits{Environments: e.Environments, Namespaces: e.Namespaces, Scopes: e.Scopes}
	if e.MaxRecords != nil {
		limits.Records = *e.MaxRecords
	}
	return limits
}

// validate returns an error that names the first field with a bad value. registers is set if the verifier registers.
func (e *Entry) validate(isFirst, registers bool) error {
	if e.Name == "" {
		return errors.New("name: it is missing")
	}
	if problems := validation.IsDNS1123Label(e.Name); len(problems) > 0 {
		return fmt.Errorf("name: %s", problems[0])
	}
	if len(e.Environments) == 0 && !isFirst {
		return errors.New("environments: name those that this cluster may vouch for; only the first source can leave them out")
	}
	if e.UsageNamespace != "" && len(validation.IsDNS1123Label(e.UsageNamespace)) > 0 {
		return fmt.Errorf("usageNamespace: %q is not a valid name of a namespace", e.UsageNamespace)
	}
	if err := checkNames("environments", "an environment", e.Environments, apikey.ValidEnvironment); err != nil {
		return err
	}
	if err := checkNames("namespaces", "a namespace", e.Namespaces, func(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }); err != nil {
		return err
	}
	if err := checkNames("scopes", "a scope", e.Scopes, v1alpha1.Scope.IsValid); err != nil {
		return err
	}
	if e.MaxRecords != nil && *e.MaxRecords < 1 {
		return fmt.Errorf("maxRecords is %d: want at least 1", *e.MaxRecords)
	}
	if !registers {
		return nil
	}
	return CheckWatches(e.Environments, e.Namespaces)
}

// checkNames returns an error that names a field if one of its values is bad, or is listed twice.
func checkNames[T ~string](field, what string, names []T, isValid func(T) bool) error {
	for i, name := range names {
		if !isValid(name) {
			return fmt.Errorf("%s: %q is not a valid name of %s", field, name, what)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("%s: %q is listed twice", field, name)
		}
	}
	return nil
}

// maxStatedSize is the largest size in bytes of the versions in a registration. An admission policy bounds its annotations to 64 KiB.
const maxStatedSize = 60 << 10

// CheckWatches returns an error if there are so many watches, one for each environment of each namespace, that their versions do not fit into a
// registration.
func CheckWatches(environments, namespaces []string) error {
	const version = len("/=18446744073709551615,")
	perNamespace, perEnvironment := max(len(environments), 1), max(len(namespaces), 1)
	watches := perNamespace * perEnvironment
	size := watches*version + len(strings.Join(namespaces, ""))*perNamespace + len(strings.Join(environments, ""))*perEnvironment
	if size > maxStatedSize {
		return fmt.Errorf("%d namespaces and %d environments make %d watches, whose registration takes %d bytes: want at most %d; "+
			"run several verifiers, or set --register=false", len(namespaces), len(environments), watches, size, maxStatedSize)
	}
	return nil
}
