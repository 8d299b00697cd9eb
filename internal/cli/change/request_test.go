// SPDX-License-Identifier: Apache-2.0

package change

import (
	"testing"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/session"
)

// TestRequestTime_IsNotBeforeTheRevisionInUse, or the operator would not issue another one.
func TestRequestTime_IsNotBeforeTheRevisionInUse(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	if got := requestTime(key, clitest.Now); !got.Equal(clitest.At(0)) {
		t.Errorf("%s", got)
	}
	key.Status.Current = &v1alpha1.RevisionStatus{IssuedAt: *clitest.At(time.Second)}
	if got := requestTime(key, clitest.Now); !got.Equal(clitest.At(time.Second)) {
		t.Errorf("%s", got)
	}
	// Issued while the operator's clock was ahead: a request for then would revoke nothing for a year.
	key.Status.Current.IssuedAt = *clitest.At(365 * 24 * time.Hour)
	if got := requestTime(key, clitest.Now); !got.Equal(clitest.At(0)) {
		t.Errorf("%s", got)
	}
	key.Status.Current.IssuedAt = *clitest.At(-time.Hour)
	if got := requestTime(key, clitest.Now); !got.Equal(clitest.At(0)) {
		t.Errorf("%s", got)
	}
}

// call runs kubectl dgbot with the verbs of this package, and returns what it writes and its exit code.
func call(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	newCommand := func(streams genericiooptions.IOStreams) *cobra.Command {
		return session.NewRoot(streams, NewRotate, NewCompromise, NewRevoke, NewDisable)
	}
	return clitest.Call(t, newCommand, "", args...)
}
