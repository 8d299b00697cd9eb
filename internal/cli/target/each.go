// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/session"
)

// Failure is the error of one key.
type Failure struct {
	Name string
	Err  error
}

// Each calls do for every key, also after an error, and returns one error for all.
func Each(s *session.Session, keys []v1alpha1.DGbotAPIKey, do func(*v1alpha1.DGbotAPIKey) error) error {
	var failures []Failure
	for i := range keys {
		if err := do(&keys[i]); err != nil {
			failures = append(failures, Failure{Name: keys[i].Name, Err: err})
		}
	}
	return ReportFailures(s, failures, len(keys))
}

// ReportFailures returns one error for the failures of several keys. If there were several keys, it prints each failure in a line.
func ReportFailures(s *session.Session, failures []Failure, of int) error {
	switch {
	case len(failures) == 0:
		return nil
	case of == 1:
		return exit.OfKey(failures[0].Name+": ", failures[0].Err)
	}
	for _, f := range failures {
		_ = display.Writef(s.Streams.ErrOut, "%s: %s\n", f.Name, exit.Explain(f.Err))
	}
	return exit.OfKey(fmt.Sprintf("%d of %d keys, the first %s: ", len(failures), of, failures[0].Name), failures[0].Err)
}
