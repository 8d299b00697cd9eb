// SPDX-License-Identifier: Apache-2.0

package install

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

// TestOverlaysRunWithExactlyTheirRights installs each overlay, runs the manager under its account, and takes a key through
// its life.
func TestOverlaysRunWithExactlyTheirRights(t *testing.T) {
	for overlay, test := range map[string]struct{ namespaced, getOnly bool }{
		"get-only":            {getOnly: true},
		"namespaced":          {namespaced: true},
		"namespaced-get-only": {namespaced: true, getOnly: true},
	} {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join("overlays", overlay)
			h := startHardened(t, folder)
			h.Must("", "create", "namespace", "support")
			if test.namespaced {
				h.Must("", "apply", "-k", filepath.Join(controlplane.Repository(), "config", folder, "watched"), "-n", "support")
			}
			address, err := process.FreeAddress()
			if err != nil {
				t.Fatal(err)
			}
			operator := h.operate(nil, "--metrics-bind-address="+address, "--secret-check-interval=1s", "--zap-log-level=debug")
			h.live("support")
			h.scrape(address)
			h.usesExactlyItsRights()
			h.restrictedPodsAreTaken(controlplane.OperatorAccount)
			if test.getOnly {
				h.mayNot("list", "secrets", "support")
				h.mayNot("watch", "secrets", "support")
				testenv.StopIfRunning(h.T, operator)
				operator = h.readsSecretsAndNothingElse()
			}
			if test.namespaced {
				h.hasNothingIn("default")
				h.servesNamespacesFromWhenItMay(operator, filepath.Join(folder, "watched"))
			}
		})
	}
}

// mayNot asks the API server, beside what RBAC objects say.
func (h *hardened) mayNot(verb, resource, namespace string) {
	h.T.Helper()
	out, err := h.Run("", "auth", "can-i", verb, resource, "-n", namespace, "--as="+operatorUser)
	if err == nil || strings.TrimSpace(out) != "no" {
		h.T.Errorf("may the operator %s %s in %s? %s", verb, resource, namespace, out)
	}
}

// readsSecretsAndNothingElse: of an unchanged world the manager asks for the Secrets when they are due, and for its lease.
func (h *hardened) readsSecretsAndNothingElse() (running *process.Program) {
	h.T.Helper()
	const keys = 3
	for i := range keys {
		h.Must(strings.NewReplacer("namespace: default", "namespace: support", "name: crm", fmt.Sprintf("name: idle-%d", i)).Replace(key), "apply", "-f", "-")
	}
	for _, interval := range []string{"24h", "1s"} {
		running = h.operate(nil, "--secret-check-interval="+interval)
		for i := range keys {
			h.Must("", "wait", "--for=condition=Ready", fmt.Sprintf("dgkey/idle-%d", i), "-n", "support", "--timeout=60s")
		}
		// The lease is renewed every two seconds: it is the clock. What the start still causes comes before.
		_, settled := h.untilLeaseIsRenewed(0, 2)
		others, _ := h.untilLeaseIsRenewed(settled, 4)
		reads := 0
		for _, right := range others {
			if right == "get secrets" {
				reads++
			} else {
				h.T.Errorf("with an interval of %s: %s without a change", interval, right)
			}
		}
		if quiet := interval == "24h"; quiet && reads != 0 || !quiet && (reads < 3*keys || reads > 15*keys) {
			h.T.Errorf("with an interval of %s there were %d reads of %d Secrets in about eight seconds", interval, reads, keys)
		}
		if interval == "24h" {
			testenv.StopIfRunning(h.T, running)
		}
	}
	for i := range keys {
		h.Must("", "delete", "dgkey", fmt.Sprintf("idle-%d", i), "-n", "support")
	}
	return running
}

// untilLeaseIsRenewed waits for renewals of the lease and returns what else the operator finished to ask for meanwhile, and
// how long the audit log is then.
func (h *hardened) untilLeaseIsRenewed(from, times int) (others []string, length int) {
	h.T.Helper()
	start := -1
	h.Eventually("the lease is renewed", func() (bool, string) {
		events, err := controlplane.ReadAudit(h.auditLog())
		if err != nil {
			return false, err.Error()
		}
		if start < 0 {
			start = from
			if from == 0 {
				start = len(events)
			}
		}
		others, length = nil, len(events)
		renewed := 0
		for _, event := range events[start:] {
			switch {
			case event.User.Username != operatorUser, event.Verb == "watch", event.Verb == "list" && event.ObjectRef.Resource == "leases":
			case event.ObjectRef.Resource == "leases":
				renewed++
			default:
				others = append(others, event.Right())
			}
		}
		return renewed >= times, fmt.Sprintf("%d times", renewed)
	})
	return others, length
}

// hasNothingIn: in a namespace that is not watched, the operator has the rights of any account.
func (h *hardened) hasNothingIn(namespace string) {
	h.T.Helper()
	list := func(account string) string {
		return h.Must("", "auth", "can-i", "--list", "--no-headers", "-n", namespace, "--as="+account, "--as-group=system:authenticated")
	}
	operator, other := list(operatorUser), list("system:serviceaccount:default:default")
	var more []string
	for line := range strings.Lines(operator) {
		if !strings.Contains(other, line) {
			more = append(more, strings.Join(strings.Fields(line), " "))
		}
	}
	// What is bound for the whole cluster, and events of what belongs to it, which are in default.
	if len(more) != 7 || !strings.Contains(strings.Join(more, "\n"), "[mint]") {
		h.T.Errorf("more than any account has in %s: %q", namespace, more)
	}
}

// servesNamespacesFromWhenItMay: neither a namespace that does not exist nor one without the Role keeps the others waiting,
// both are named in the log, and served when they can be, without a restart.
func (h *hardened) servesNamespacesFromWhenItMay(operator *process.Program, watched string) {
	h.T.Helper()
	testenv.StopIfRunning(h.T, operator)
	h.Must("", "create", "namespace", "sales")
	in := func(namespace string) string {
		return strings.Replace(key, "namespace: default", "namespace: "+namespace, 1)
	}
	h.Must(in("sales"), "apply", "-f", "-")
	h.Must(in("support"), "apply", "-f", "-")
	h.Must(in("default"), "apply", "-f", "-")
	h.operate(map[string]string{"WATCH_NAMESPACES": "sales,support,later"}, "--secret-check-interval=1s")
	ready := func(namespace string) {
		h.Must("", "wait", "--for=condition=Ready", "dgkey/crm", "-n", namespace, "--timeout=90s")
	}
	ready("support")
	for _, namespace := range []string{"sales", "later"} {
		h.Eventually(namespace+" is named in the log", func() (bool, string) {
			for line := range strings.Lines(h.log.String()) {
				if strings.Contains(line, "of --watch-namespaces cannot be read") && strings.Contains(line, `in the namespace \"`+namespace+`\"`) {
					return true, ""
				}
			}
			return false, h.log.String()
		})
		if namespace == "later" {
			h.Must("", "create", "namespace", namespace)
			h.Must(in(namespace), "apply", "-f", "-")
		}
		h.Must("", "apply", "-k", filepath.Join(controlplane.Repository(), "config", watched), "-n", namespace)
	}
	ready("sales")
	ready("later")
	if status := h.Must("", "get", "dgkey", "crm", "-n", "default", "-o", "jsonpath={.status}"); status != `{"observedGeneration":-1}` {
		h.T.Errorf("a key in a namespace that is not watched has the status %s", status)
	}
	// A namespace that goes away does not take the others with it.
	h.Must("", "delete", "namespace", "later", "--timeout=60s")
	h.Must("", "annotate", "dgkey", "crm", "-n", "sales", "keys.dgbot.io/revoke-issued-before=2000-01-01T00:00:00Z")
	h.Must("", "wait", "--for=jsonpath={.status.lastHandledRequest.revokeIssuedBefore}=2000-01-01T00:00:00Z", "dgkey/crm", "-n", "sales", "--timeout=60s")
}
