// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/test/controlplane"
)

// auditFolder holds the API server's audit log: every request of the operator's service account, without bodies.
var auditFolder string

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, users: ["system:serviceaccount:%s:%s"]}
- {level: None}
`

func startAudit() (map[string][]string, error) {
	var err error
	if auditFolder, err = os.MkdirTemp("", "dgbot-audit-"); err != nil {
		return nil, err
	}
	policy := filepath.Join(auditFolder, "policy.yaml")
	text := fmt.Sprintf(auditPolicy, controlplane.OperatorNamespace, controlplane.OperatorAccount)
	return map[string][]string{
		"audit-policy-file": {policy}, "audit-log-path": {auditLog()}, "audit-log-mode": {"blocking"},
	}, os.WriteFile(policy, []byte(text), 0o600)
}

func auditLog() string { return filepath.Join(auditFolder, "audit.log") }

// request is what the audit log says of a request of the operator.
type request struct {
	Verb      string
	ObjectRef struct{ APIGroup, Resource, Subresource, Name, Namespace string }
}

func (r request) resource() string {
	name := r.ObjectRef.Resource
	if r.ObjectRef.Subresource != "" {
		name += "/" + r.ObjectRef.Subresource
	}
	if r.ObjectRef.APIGroup != "" {
		name = r.ObjectRef.APIGroup + "/" + name
	}
	return name
}

func (r request) String() string { return r.Verb + " " + r.resource() + " " + r.ObjectRef.Name }

// requestsSince returns the operator's finished requests after an offset in the log, and the offset behind them. A watch
// that goes on is not among them.
func requestsSince(offset int64) ([]request, int64, error) {
	content, err := os.ReadFile(auditLog())
	if err != nil {
		return nil, 0, err
	}
	complete := bytes.LastIndexByte(content, '\n') + 1
	var requests []request
	lines := bufio.NewScanner(bytes.NewReader(content[offset:complete]))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, 0, err
		}
		requests = append(requests, r)
	}
	return requests, int64(complete), lines.Err()
}

func TestAnUnchangedWorldCausesNoRequests(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	for i := range 10 {
		p.apply(fmt.Sprintf("key-%d", i), nil)
	}
	p.apply("disabled", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateDisabled })
	for i := range 10 {
		p.ready(fmt.Sprintf("key-%d", i))
	}
	p.notReady("disabled", v1alpha1.DisabledReason)

	// The lease is renewed every two seconds: it is the clock by which nothing else happens. What the last writes still
	// cause comes before the first renewal that is waited for.
	renewed := func(offset int64, times int) (others []request, end int64) {
		p.eventually("the lease is renewed", func() bool {
			var requests []request
			var err error
			requests, end, err = requestsSince(offset)
			must(t, err)
			others = slices.DeleteFunc(slices.Clone(requests), func(r request) bool { return r.ObjectRef.Resource == "leases" || r.Verb == "watch" })
			return len(requests)-len(others) >= times
		})
		return others, end
	}
	_, settled := renewed(0, 1)
	_, settled = renewed(settled, 2)
	if others, _ := renewed(settled, 3); len(others) > 0 {
		t.Errorf("requests without a change: %v", others)
	}
}
