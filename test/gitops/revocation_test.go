// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"dgbot.io/key-operator/api/v1alpha1"
)

// takesARevokedKeyOut goes the steps of docs/gitops.md, and then back by them.
func (m *team) takesARevokedKeyOut() {
	m.t.Helper()
	all := m.git
	revoked := all.with(m.t, crmSync, "Revoked", "spec", "state")
	first := m.key("support", "crm-sync")
	m.commits(revoked, crmSync)
	m.isRevoked(first)
	if got := m.key("support", "crm-sync"); got != first {
		m.t.Error("the Secret of a revoked key is another")
	}
	// Back from there: another key in the same Secret.
	m.commits(all, crmSync)
	m.current()
	second := m.key("support", "crm-sync")
	if second == first || m.verifies("support", first) {
		m.t.Error("a revoked key was revived")
	}
	m.commits(revoked, crmSync)
	m.isRevoked(second)

	m.commits(all.without(crmSync), "pruned "+crmSync)
	m.isGone()
	// A user reverts the commit that removed the file.
	m.commits(revoked, crmSync)
	m.isRevoked(first, second)
	m.settled()
	if m.crmSecret() != nil || m.recordsOf("crm-sync") != 0 {
		m.t.Error("a key that Git brings back revoked was issued")
	}
	m.commits(all.without(crmSync), "pruned "+crmSync)
	m.isGone()
	m.commits(all, crmSync)
	m.current()
	if third := m.key("support", "crm-sync"); slices.Contains([]string{first, second}, third) || m.verifies("support", first) || m.verifies("support", second) {
		m.t.Error("a key of the same name is an old one")
	}
}

// commits has the tool bring a commit into the cluster, and wants exactly this changed.
func (m *team) commits(git manifests, want ...string) {
	m.t.Helper()
	m.git = git
	m.syncs(want...)
}

// isRevoked waits until no key verifies, and looks at what the tools say of that.
func (m *team) isRevoked(keys ...string) {
	m.t.Helper()
	object := m.git[crmSync]
	m.eventually("the key is revoked", func() (bool, string) {
		alive := slices.ContainsFunc(keys, func(key string) bool { return m.verifies("support", key) })
		return !alive && m.kstatus(object) == status.FailedStatus, string(m.kstatus(object))
	})
	if got := healthOf(m.t, read(m.t, filepath.Join(customizations, v1alpha1.APIKeyKind, "health.lua")), m.live(object).Object); got.Status != "Healthy" {
		m.t.Errorf("a key that Git has revoked is %+v in Argo CD", got)
	}
	m.syncs()
}

func (m *team) isGone() {
	m.t.Helper()
	m.eventually("nothing is left of the key", func() (bool, string) {
		return m.crmSecret() == nil && m.recordsOf("crm-sync") == 0, ""
	})
}

// leavesWhatGitDoesNotName: Argo CD does not put back a field that is not in Git.
func (m *team) leavesWhatGitDoesNotName() {
	m.t.Helper()
	key := m.key("support", "website-backend")
	m.setsState("Disabled")
	m.eventually("no key verifies", func() (bool, string) { return !m.verifies("support", key), "" })
	m.syncs()
	m.setsState("Active")
	m.current()
	if m.key("support", "website-backend") != key {
		m.t.Error("enabling a key cost a revision")
	}
}

func (m *team) setsState(state string) {
	m.t.Helper()
	m.kubectl("patch", "dgkey", "website-backend", "-n", "support", "--type=merge", "-p", `{"spec":{"state":"`+state+`"}}`)
}

// undoesWhatKubectlHasSet: Flux takes away what kubectl has set. Of a rotation or revocation that has been carried out nothing is
// taken back by that; a state that is not in Git is.
func (m *team) undoesWhatKubectlHasSet() {
	m.t.Helper()
	key, first := m.git[backend], m.key("support", "website-backend")
	asked := m.now()
	m.kubectl("annotate", "dgkey", "website-backend", "-n", "support", v1alpha1.RevokeIssuedBeforeAnnotation+"="+asked)
	m.eventually("the revocation is done", func() (bool, string) {
		done := text(m.t, m.live(key), "status", "lastHandledRequest", "revokeIssuedBefore")
		return done == asked && m.kstatus(key) == status.CurrentStatus, done
	})
	m.settled()
	second := m.key("support", "website-backend")
	if m.verifies("support", first) || !m.verifies("support", second) {
		m.t.Error("the leaked key is to be dead and replaced")
	}
	m.syncs(backend)
	if _, there := m.live(key).GetAnnotations()[v1alpha1.RevokeIssuedBeforeAnnotation]; there {
		m.t.Error("Flux leaves what kubectl annotates: docs/gitops.md says otherwise")
	}
	m.settled()
	if m.verifies("support", first) || m.key("support", "website-backend") != second {
		m.t.Error("taking the annotation away took the revocation back, or cost a revision")
	}
	for state, revives := range map[string]bool{"Disabled": true, "Revoked": false} {
		before := m.key("support", "website-backend")
		m.setsState(state)
		m.eventually("no key verifies", func() (bool, string) {
			return m.kstatus(key) == status.FailedStatus && !m.verifies("support", before), ""
		})
		m.settled()
		m.syncs(backend)
		m.current()
		if m.verifies("support", before) != revives {
			m.t.Errorf("after Flux undid the state %s, the key that was there verifies: %v", state, !revives)
		}
	}
}

// now is the time in the form of a request, and no earlier than what has been issued.
func (m *team) now() string {
	m.t.Helper()
	issued := text(m.t, m.live(m.git[backend]), "status", "current", "issuedAt")
	return max(issued, time.Now().UTC().Format(time.RFC3339))
}
