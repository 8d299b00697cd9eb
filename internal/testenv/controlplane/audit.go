// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// AuditEvent is what an audit log says of a request.
type AuditEvent struct {
	Level          string
	Stage          string
	Verb           string
	RequestURI     string
	User           struct{ Username string }
	ObjectRef      struct{ APIGroup, Resource, Subresource, Name, Namespace string }
	ResponseStatus struct {
		Code    int
		Message string
	}
	RequestObject json.RawMessage
}

// Right is the right that the request needed, such as "patch keys.dgbot.io/dgbotapikeys/status".
func (e *AuditEvent) Right() string {
	return Right(e.Verb, e.ObjectRef.APIGroup, e.ObjectRef.Resource, e.ObjectRef.Subresource)
}

// Wrote reports whether the request changed something, or may have: it is no read, no dry run and was not rejected.
func (e *AuditEvent) Wrote() bool {
	switch e.Verb {
	case "get", "list", "watch":
		return false
	}
	address, err := url.ParseRequestURI(e.RequestURI)
	return (err != nil || !address.Query().Has("dryRun")) && e.ResponseStatus.Code < 400
}

func (e AuditEvent) String() string {
	return fmt.Sprintf("%s %s/%s (%d)", e.Right(), e.ObjectRef.Namespace, e.ObjectRef.Name, e.ResponseStatus.Code)
}

// Right writes a right as a line of text.
func Right(verb, group, resource, subresource string) string {
	if subresource != "" {
		resource += "/" + subresource
	}
	if group != "" {
		resource = group + "/" + resource
	}
	return verb + " " + resource
}

const operatorPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, users: ["system:serviceaccount:%s:%s"]}
- {level: None}
`

// OperatorAudit returns arguments with which the API server logs every finished request of the operator's account,
// without bodies, and where it does; in a folder that is there.
func OperatorAudit(folder string) (args map[string][]string, log string, err error) {
	policy := filepath.Join(folder, "policy.yaml")
	log = filepath.Join(folder, "audit.log")
	// By default the API server begins a new file after 100 MiB, and a position in the log would then be one in another file.
	args = map[string][]string{"audit-policy-file": {policy}, "audit-log-path": {log}, "audit-log-mode": {"blocking"}, "audit-log-maxsize": {"10000"}}
	return args, log, os.WriteFile(policy, fmt.Appendf(nil, operatorPolicy, OperatorNamespace, OperatorAccount), 0o600)
}

// ReadAudit reads the finished lines of an audit log.
func ReadAudit(path string) ([]AuditEvent, error) {
	events, _, err := ReadAuditFrom(path, 0)
	return events, err
}

// ReadAuditFrom reads the finished lines behind an offset, and returns the offset behind them. A watch that goes on is not
// among them.
func ReadAuditFrom(path string, offset int64) (events []AuditEvent, end int64, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	end = int64(bytes.LastIndexByte(content, '\n') + 1)
	for line := range bytes.Lines(content[offset:end]) {
		var event AuditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, 0, fmt.Errorf("the audit log: %w", err)
		}
		events = append(events, event)
	}
	return events, end, nil
}
