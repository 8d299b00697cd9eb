// SPDX-License-Identifier: Apache-2.0

package gitops

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"dgbot.io/key-operator/api/v1alpha1"
)

const (
	backend = "DGbotAPIKey support/website-backend"
	crmSync = "DGbotAPIKey support/crm-sync"
	bot     = "DGbotChatbot support/support-bot"
)

// team is the team's repository, brought into a cluster by a tool.
type team struct {
	*site
	tool tool
	git  manifests
}

// TestATeamsRepository takes the sample repository through its life, once with each tool, in the same cluster.
func TestATeamsRepository(t *testing.T) {
	s := newSite(t)
	git := manifests{}
	for _, environment := range []string{"production", "staging", "development"} {
		maps.Copy(git, overlay(t, environment))
	}
	if len(git) != 9 {
		t.Fatalf("the overlays have %d objects in sum", len(git))
	}
	// The tools wait by themselves, without a user.
	argo := &team{site: s, tool: argoCD{s}, git: git}
	argo.syncs(slices.Collect(maps.Keys(git))...)
	for name, object := range git {
		if got := s.kstatus(object); got != status.InProgressStatus {
			t.Errorf("%s, which no operator has seen, is %s", name, got)
		}
	}
	s.operate()
	argo.lives()
	argo.leavesWhatGitDoesNotName()
	argo.endsWithoutARest()
	flux := &team{site: s, tool: &flux{site: s}, git: git}
	flux.syncs(slices.Collect(maps.Keys(git))...)
	flux.lives()
	flux.undoesWhatKubectlHasSet()
	flux.endsWithoutARest()
}

// lives is a repository's life, from after it was applied.
func (m *team) lives() {
	m.current()
	m.staysAsItIs()
	m.keepsItsChildren()
	m.revertsDrift()
	m.rotatesWithoutGit()
	m.losesNothingButTheKey()
	m.takesARevokedKeyOut()
}

// syncs reconciles, and wants exactly these changed.
func (m *team) syncs(want ...string) {
	m.t.Helper()
	got := m.tool.reconcile(m.git)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.t.Fatalf("%T changed %v, want %v", m.tool, got, want)
	}
}

// current waits as Flux does, and looks at what those find who have waited.
func (m *team) current() {
	m.t.Helper()
	for name, object := range m.git {
		m.eventually(name+" is Current", func() (bool, string) {
			got := m.kstatus(object)
			if got == status.FailedStatus {
				m.t.Fatalf("%s is Failed: %v", name, m.live(object))
			}
			return got == status.CurrentStatus, string(got)
		})
		if object.GetKind() == v1alpha1.APIKeyKind && !m.verifies(object.GetNamespace(), m.key(object.GetNamespace(), object.GetName())) {
			m.t.Errorf("%s is Current, and its key does not verify", name)
		}
	}
}

// snapshot is what may not change by itself: objects of Git with their versions, and the Secrets and records of the team.
type snapshot map[string]any

func (m *team) snapshot() snapshot {
	m.t.Helper()
	s := snapshot{}
	for name, object := range m.git {
		s[name] = m.live(object).GetResourceVersion()
	}
	for _, object := range m.everything() {
		switch object.GetKind() {
		case "Secret", "ConfigMap":
			s[id(&object)] = object.Object["data"]
		case v1alpha1.APIKeyRecordKind:
			s[id(&object)] = object.Object["spec"]
		}
	}
	return s
}

// differs lists what is not the same.
func (s snapshot) differs(from snapshot) []string {
	var different []string
	for name, value := range s {
		if !equality.Semantic.DeepEqual(value, from[name]) {
			different = append(different, name)
		}
	}
	for name := range from {
		if _, there := s[name]; !there {
			different = append(different, name)
		}
	}
	slices.Sort(different)
	return different
}

// settled waits until nothing is going on.
func (m *team) settled() snapshot {
	m.t.Helper()
	last := m.snapshot()
	m.eventually("the team's objects converge", func() (bool, string) {
		now := m.snapshot()
		different := now.differs(last)
		last = now
		return len(different) == 0, fmt.Sprint(different)
	})
	return last
}

// staysAsItIs: self-heal finds no drift, and applying all the same writes nothing.
func (m *team) staysAsItIs() {
	m.t.Helper()
	before := m.settled()
	for range 20 {
		m.syncs()
	}
	for _, object := range m.git {
		for range 5 {
			m.forces(object)
		}
	}
	if different := m.snapshot().differs(before); len(different) > 0 {
		m.t.Errorf("%T: applying what is there changed %v", m.tool, different)
	}
}

// forces applies an object although it has not drifted.
func (m *team) forces(object *unstructured.Unstructured) {
	m.t.Helper()
	switch tool := m.tool.(type) {
	case argoCD:
		m.apply(tool.track(object), "argocd-controller")
	case *flux:
		m.apply(tool.own(object), fluxManager)
	}
}

// keepsItsChildren: nothing that the operator has made looks as if it were the tool's own, by which it would be pruned.
func (m *team) keepsItsChildren() {
	m.t.Helper()
	children := 0
	for _, object := range m.everything() {
		if m.git[id(&object)] != nil {
			continue
		}
		children++
		marks := slices.Concat(slices.Collect(maps.Keys(object.GetLabels())), slices.Collect(maps.Keys(object.GetAnnotations())))
		for _, mark := range marks {
			if mark == instanceLabel || strings.HasPrefix(mark, "argocd.argoproj.io/") || strings.Contains(mark, ".toolkit.fluxcd.io/") {
				m.t.Errorf("%s has %s: %T would prune it", id(&object), mark, m.tool)
			}
		}
	}
	// A Secret and a record for each of six keys, and of three chatbots a ConfigMap, a Secret, a reservation and a replica.
	if children < 6*2+3*4 {
		m.t.Errorf("only %d children were looked at", children)
	}
}

// revertsDrift checks that the tool reverts the edit of another field manager, which issues no revision.
func (m *team) revertsDrift() {
	m.t.Helper()
	before := m.settled()
	m.kubectl("patch", "dgkey", "website-backend", "-n", "support", "--type=merge", "--field-manager=other", "-p", `{"spec":{"label":"Edited"}}`)
	m.eventually("the record has the edited label", func() (bool, string) { return m.labelled("Edited"), "" })
	m.syncs(backend)
	m.eventually("the record has Git's label", func() (bool, string) { return m.labelled("Website backend"), "" })
	m.current()
	if different := m.settled().differs(before); !slices.Equal(different, []string{backend}) {
		m.t.Errorf("%T: undoing an edit changed %v", m.tool, different)
	}
}

// labelled reports whether a record of the backend's key in production has a label.
func (m *team) labelled(label string) bool {
	return slices.ContainsFunc(m.records("support"), func(record v1alpha1.DGbotAPIKeyRecord) bool {
		return record.Spec.Label == label && record.Spec.APIKeyRef.Name == "website-backend"
	})
}

// rotatesWithoutGit: by the tool and by the plugin. What is asked for is not in Git, is not drift, and stays.
func (m *team) rotatesWithoutGit() {
	m.t.Helper()
	key := m.git[backend]
	for _, ask := range []func(*unstructured.Unstructured){
		m.tool.rotate, func(key *unstructured.Unstructured) { m.dgbot("rotate", key.GetName(), "-n", key.GetNamespace()) },
	} {
		first := m.key("support", "website-backend")
		ask(key)
		asked := m.live(key).GetAnnotations()[v1alpha1.RotateRequestedAtAnnotation]
		m.syncs()
		m.eventually("the rotation is done", func() (bool, string) {
			done := text(m.t, m.live(key), "status", "lastHandledRequest", "rotateRequestedAt")
			return done == asked, done
		})
		second := m.key("support", "website-backend")
		if second == first || !m.verifies("support", first) || !m.verifies("support", second) {
			m.t.Error("during the overlap two keys are to verify")
		}
		before := m.settled()
		for range 5 {
			m.syncs()
			m.forces(key)
		}
		if different := m.snapshot().differs(before); len(different) > 0 {
			m.t.Errorf("%T: after a rotation, applying Git changed %v", m.tool, different)
		}
		if got := m.live(key).GetAnnotations()[v1alpha1.RotateRequestedAtAnnotation]; got != asked || asked == "" {
			m.t.Errorf("%T: the request of %q became %q", m.tool, asked, got)
		}
	}
}

// losesNothingButTheKey: one that is taken out of Git ends, alone; and one that comes back is another one, in the same place.
func (m *team) losesNothingButTheKey() {
	m.t.Helper()
	all, before := m.git, m.settled()
	key, secret := m.key("support", "crm-sync"), m.crmSecret()
	m.git = all.without(crmSync)
	m.syncs("pruned " + crmSync)
	m.eventually("the key ends with everything that was its own", func() (bool, string) {
		return !m.verifies("support", key) && m.crmSecret() == nil && m.recordsOf("crm-sync") == 0, ""
	})
	for _, name := range m.snapshot().differs(before) {
		if !strings.Contains(name, "crm-sync") {
			m.t.Errorf("%T: pruning a key changed %s", m.tool, name)
		}
	}
	m.git = all
	m.syncs(crmSync)
	m.current()
	again := m.crmSecret()
	if text := m.key("support", "crm-sync"); text == key || m.verifies("support", key) {
		m.t.Errorf("%T: the key that was pruned is back", m.tool)
	}
	for _, s := range []map[string][]byte{secret.Data, again.Data} {
		delete(s, v1alpha1.DefaultSecretKey)
		delete(s, v1alpha1.SecretKeyID)
	}
	if !equality.Semantic.DeepEqual(secret.Data, again.Data) || again.Type != secret.Type {
		m.t.Errorf("%T: beside the key the Secret had %v, and has %v", m.tool, secret.Data, again.Data)
	}
}

// endsWithoutARest: what is left of a team that goes is its chatbot in production, whose ID would be lost, until that is deleted.
func (m *team) endsWithoutARest() {
	m.t.Helper()
	all, chatbot := m.git, m.git[bot]
	before := text(m.t, m.live(chatbot), "status", "chatbotID")
	m.git = all.without(bot)
	m.syncs()
	m.git = all
	m.syncs()
	if after := text(m.t, m.live(chatbot), "status", "chatbotID"); after != before || after == "" {
		m.t.Errorf("%T: taken out of Git and put back, the chatbot has the ID %q in place of %q", m.tool, after, before)
	}
	m.tool.reconcile(manifests{})
	m.kubectl("delete", "dgbotcb", chatbot.GetName(), "-n", chatbot.GetNamespace())
	m.eventually("nothing is left of the team", func() (bool, string) {
		var left []string
		for _, object := range m.everything() {
			if object.GroupVersionKind().Group == v1alpha1.GroupVersion.Group || object.GetLabels()[v1alpha1.ManagedByLabel] == v1alpha1.ManagedBy {
				left = append(left, id(&object))
			}
		}
		return len(left) == 0, fmt.Sprint(left)
	})
}

func (m *team) recordsOf(key string) int {
	found := 0
	for _, record := range m.records("support") {
		if record.Spec.APIKeyRef.Name == key {
			found++
		}
	}
	return found
}
