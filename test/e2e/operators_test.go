// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/lifecycle/standing"
	"dgbot.io/key-operator/internal/testenv"
)

// versions are the resourceVersions of everything of ours in the namespace.
func (p *place) versions() map[string]string {
	p.T.Helper()
	versions := map[string]string{}
	for _, record := range p.Records("") {
		versions["record "+record.Name] = record.ResourceVersion
	}
	var keys v1alpha1.DGbotAPIKeyList
	must(p.T, admin.List(p.T.Context(), &keys, client.InNamespace(p.Name)))
	for _, key := range keys.Items {
		versions["key "+key.Name] = key.ResourceVersion
	}
	var bots v1alpha1.DGbotChatbotList
	must(p.T, admin.List(p.T.Context(), &bots, client.InNamespace(p.Name)))
	for _, bot := range bots.Items {
		versions["chatbot "+bot.Name] = bot.ResourceVersion
	}
	for _, namespace := range []string{p.Name, v1alpha1.IdentityNamespace} {
		var published corev1.ConfigMapList
		must(p.T, admin.List(p.T.Context(), &published, client.InNamespace(namespace), client.HasLabels{v1alpha1.ChatbotLabel}))
		for _, configMap := range published.Items {
			versions["configmap "+configMap.Name] = configMap.ResourceVersion
		}
	}
	var secrets corev1.SecretList
	must(p.T, admin.List(p.T.Context(), &secrets, client.InNamespace(p.Name)))
	for _, secret := range secrets.Items {
		versions["secret "+secret.Name] = secret.ResourceVersion
	}
	return versions
}

func TestARestartWritesNothing(t *testing.T) {
	operator := startOperator(t)
	p := newPlace(t)
	const keys = 30
	p.applyBot("bot", "")
	p.bot("bot", v1alpha1.PublishedReason)
	for i := range keys {
		p.CreateKey(fmt.Sprintf("key-%d", i), func(k *v1alpha1.DGbotAPIKey) {
			k.Spec.Rotation.Interval = &metav1.Duration{Duration: 2160 * time.Hour}
			switch i % 5 {
			case 0:
				k.Spec.State = v1alpha1.StateDisabled
			case 1:
				k.Spec.ChatbotRef = &v1alpha1.ChatbotReference{Name: "bot"}
			}
		})
	}
	for i := range keys {
		if i%5 == 0 {
			p.AwaitNotReady(fmt.Sprintf("key-%d", i), v1alpha1.DisabledReason)
		} else {
			p.AwaitReady(fmt.Sprintf("key-%d", i))
		}
	}
	must(t, operator.Stop())
	before := p.versions()
	startOperator(t)
	// A key created now is behind all others in the queue of the new manager, or they were there before it.
	q := newPlace(t)
	q.CreateKey("sentinel", nil)
	q.AwaitReady("sentinel")
	p.sameAs(before)
}

func (p *place) sameAs(before map[string]string) {
	p.T.Helper()
	after := p.versions()
	if len(after) != len(before) {
		p.T.Errorf("%d objects before, %d after", len(before), len(after))
	}
	for name, version := range before {
		if after[name] != version {
			p.T.Errorf("%s was written", name)
		}
	}
}

func TestTwoManagersAtOnceMintNothingTwice(t *testing.T) {
	startOperator(t, "--leader-elect=false")
	startOperator(t, "--leader-elect=false")
	p := newPlace(t)
	const keys, rotations = 15, 3
	for i := range keys {
		p.CreateKey(fmt.Sprintf("key-%d", i), nil)
	}
	for i := range keys {
		p.AwaitReady(fmt.Sprintf("key-%d", i))
	}
	for range rotations {
		at := time.Now().UTC().Truncate(time.Second)
		for i := range keys {
			p.EditKey(fmt.Sprintf("key-%d", i), func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.RequestedAt = &metav1.Time{Time: at} })
		}
		for i := range keys {
			name := fmt.Sprintf("key-%d", i)
			p.Eventually(name+" has rotated", func() bool {
				handled := p.Key(name).Status.LastHandledRequest
				return handled != nil && handled.RotateRequestedAt != nil && handled.RotateRequestedAt.Time.Equal(at)
			})
			if verdict := p.Verdict(p.KeyText(name)); verdict != standing.Admitted {
				t.Errorf("the key in %s is %s", name, verdict)
			}
		}
		// Requests have a resolution of a second: the next one must be later than the revision it replaces.
		p.Eventually("the next second", func() bool { return time.Now().UTC().Truncate(time.Second).After(at.Add(time.Second)) })
	}
	t.Logf("%d records for %d published keys", len(p.Records("")), keys*(rotations+1))
	for i := range keys {
		name := fmt.Sprintf("key-%d", i)
		causes := map[v1alpha1.Cause]int{}
		for _, record := range p.Records(name) {
			causes[record.Spec.Cause]++
		}
		published := map[int64]bool{}
		for _, record := range p.Records(name) {
			published[revisions.SupersededBy(&record)] = true
		}
		delete(published, 0)
		if len(published) != rotations {
			t.Errorf("%s: %d publications after the first, want %d (causes %v)", name, len(published), rotations, causes)
		}
		for cause := range causes {
			if cause != v1alpha1.CauseFirstIssue && cause != v1alpha1.CauseRequest {
				t.Errorf("%s: a revision with cause %s, which no user gave", name, cause)
			}
		}
	}
}

func TestTheLeaderHandsOverWithoutAWrite(t *testing.T) {
	leader := startOperator(t)
	p := newPlace(t)
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")
	before := p.versions()
	startOperator(t)
	must(t, leader.Kill())
	q := newPlace(t)
	q.CreateKey("after", nil)
	q.AwaitReady("after")
	p.sameAs(before)
}

func TestHealthIsAnsweredWithOrWithoutTheLease(t *testing.T) {
	addresses := []string{testenv.FreeAddress(t), testenv.FreeAddress(t)}
	for _, address := range addresses {
		startOperator(t, "--health-probe-bind-address="+address)
	}
	p := newPlace(t)
	for _, address := range addresses {
		for _, path := range []string{"/healthz", "/readyz"} {
			p.Eventually(address+path+" is well", func() bool {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
				must(t, err)
				code, _ := fetch(t, http.DefaultClient, request)
				return code == http.StatusOK
			})
		}
	}
}

func TestMetricsAreForThoseWhoMayReadThem(t *testing.T) {
	address := testenv.FreeAddress(t)
	startOperator(t, "--metrics-bind-address="+address, "--leader-elect=false")
	p := newPlace(t)
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")

	transport := insecureTransport()
	ask := func(token string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/metrics", nil)
		must(t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		return fetch(t, transport, request)
	}
	p.Eventually("the metrics listener is up", func() bool { code, _ := ask(""); return code != 0 })
	if code, _ := ask(""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	// Two accounts: an answer of the authorizer is good for a while.
	token := func(account string) string {
		must(t, admin.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: account}}))
		config, err := world.ServiceAccountConfig(t.Context(), p.Name, account)
		must(t, err)
		return config.BearerToken
	}
	if code, _ := ask(token("without-rights")); code != http.StatusForbidden {
		t.Errorf("without the right: %d", code)
	}
	out, err := world.Kubectl(t.Context(), "create", "clusterrolebinding", p.Name, "--clusterrole=dgbot-metrics-reader", "--serviceaccount="+p.Name+":prometheus").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	prometheus := token("prometheus")
	var body string
	p.Eventually("metrics are served", func() bool {
		var code int
		code, body = ask(prometheus)
		return code == http.StatusOK
	})
	if samples(t, body)[`dgbot_apikey_revisions_issued_total{cause="FirstIssue"}`] < 1 {
		t.Error("the mints are not counted")
	}
	if exposes(body, p.KeyText("crm")) {
		t.Error("a key is in the metrics")
	}
}
