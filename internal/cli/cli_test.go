// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"dgbot.io/key-operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

func at(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }

func TestPrintKeys_HasEveryForm(t *testing.T) {
	key := v1alpha1.DGbotAPIKey{}
	key.Name, key.Namespace, key.CreationTimestamp = "web", "support", *at(-48 * time.Hour)
	key.Spec = v1alpha1.DGbotAPIKeySpec{Label: "Web, \"server\"", Environment: "production", ExpiresAt: at(400 * 24 * time.Hour)}
	key.Status = v1alpha1.DGbotAPIKeyStatus{
		Current: &v1alpha1.RevisionStatus{Revision: 3, KeyID: "7Hq2xV0aBcD9"}, LastUsedAt: at(-time.Hour), NextRotationAt: at(72 * time.Hour),
		Audit:      &v1alpha1.AuditStatus{Stage: v1alpha1.AuditUnused},
		Conditions: []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.IssuedReason}},
	}
	fresh := v1alpha1.DGbotAPIKey{}
	fresh.Name, fresh.Namespace, fresh.CreationTimestamp = "crm", "support", *at(0)
	for output, want := range map[string]string{
		"table": "support     web    7Hq2xV0aBcD9   production    Web, \"server\"   Ready   60m ago     Unused   in 3d           2d",
		"wide":  "in 3d           3          in 400d   2d",
		"csv":   `support,web,7Hq2xV0aBcD9,production,"Web, ""server""",Ready,2026-11-27T09:00:00Z,Unused,2026-11-30T10:00:00Z,3,2028-01-01T10:00:00Z,2026-11-25T10:00:00Z`,
	} {
		var out bytes.Buffer
		if err := printKeys(&out, output, []v1alpha1.DGbotAPIKey{key, fresh}, now); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(out.String(), "\n")
		if len(lines) != 4 || !strings.Contains(lines[1], "crm") || !strings.Contains(lines[1], "New") || !strings.Contains(lines[2], want) {
			t.Errorf("%s:\n%s", output, out.String())
		}
	}
}

func TestExit_ReturnsTheCode(t *testing.T) {
	for want, err := range map[int]error{0: nil, ExitFailed: errors.New("refused"), ExitUsage: usage("say which"), ExitNo: no("not in time")} {
		var said bytes.Buffer
		if got := Exit(&said, err); got != want || (err != nil) != (said.Len() > 0) {
			t.Errorf("%v: code %d, %q", err, got, said.String())
		}
	}
	var said bytes.Buffer
	if got := Exit(&said, &exitError{ExitFailed, syscall.EPIPE}); got != ExitFailed || said.Len() > 0 {
		t.Errorf("a reader that has had enough: code %d, %q", got, said.String())
	}
}

// TestRequestTime_IsNotBeforeTheRevisionInUse, or the operator would not issue another one.
func TestRequestTime_IsNotBeforeTheRevisionInUse(t *testing.T) {
	key := &v1alpha1.DGbotAPIKey{}
	if got := requestTime(key, now); !got.Equal(at(0)) {
		t.Errorf("%s", got)
	}
	key.Status.Current = &v1alpha1.RevisionStatus{IssuedAt: *at(time.Second)}
	if got := requestTime(key, now); !got.Equal(at(time.Second)) {
		t.Errorf("%s", got)
	}
	// Issued while the operator's clock was ahead: a request for then would revoke nothing for a year.
	key.Status.Current.IssuedAt = *at(365 * 24 * time.Hour)
	if got := requestTime(key, now); !got.Equal(at(0)) {
		t.Errorf("%s", got)
	}
	key.Status.Current.IssuedAt = *at(-time.Hour)
	if got := requestTime(key, now); !got.Equal(at(0)) {
		t.Errorf("%s", got)
	}
}

// TestEach_TriesEveryKey, and returns one error for all.
func TestEach_TriesEveryKey(t *testing.T) {
	keys := make([]v1alpha1.DGbotAPIKey, 3)
	for i, name := range []string{"a", "b", "c"} {
		keys[i].Name = name
	}
	var tried []string
	var said bytes.Buffer
	s := &session{}
	s.streams.ErrOut = &said
	err := each(s, keys, func(k *v1alpha1.DGbotAPIKey) error {
		tried = append(tried, k.Name)
		if k.Name == "b" {
			return nil
		}
		return no("not %s", k.Name)
	})
	if len(tried) != 3 || err == nil || err.Error() != "2 of 3 keys, the first a: not a" || Exit(&bytes.Buffer{}, err) != ExitNo ||
		said.String() != "a: not a\nc: not c\n" {
		t.Errorf("%v: %v", tried, err)
	}
}

// call runs kubectl dgbot, and returns what it writes and its exit code.
func call(t *testing.T, stdin string, args ...string) (out, said string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := NewCommand(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &stdout, ErrOut: &stderr})
	command.SetArgs(args)
	code = Exit(&stderr, command.ExecuteContext(t.Context()))
	return stdout.String(), stderr.String(), code
}
