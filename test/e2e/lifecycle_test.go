// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

func TestAKeysWholeLife(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")
	first := p.KeyText("crm")
	if parsed, err := apikey.Parse(first); err != nil || parsed.Environment() != "production" || p.Verdict(first) != standing.Admitted {
		t.Fatalf("the published key is %v, %v", parsed, err)
	}

	p.EditKey("crm", func(k *v1alpha1.DGbotAPIKey) {
		k.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: time.Now().UTC().Format(time.RFC3339)}
	})
	p.Eventually("the Secret holds another key", func() bool { return p.KeyText("crm") != first })
	second := p.KeyText("crm")
	if p.Verdict(first) != standing.Admitted || p.Verdict(second) != standing.Admitted {
		t.Errorf("during the overlap the old key is %s, the new one %s", p.Verdict(first), p.Verdict(second))
	}
	p.Eventually("the old key has an end", func() bool {
		for _, record := range p.Records("crm") {
			if record.Spec.Revision == 1 && record.Spec.NotAfter != nil {
				return true
			}
		}
		return false
	})

	p.EditKey("crm", func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap = &metav1.Duration{} })
	p.Eventually("the overlap ends with the edit", func() bool { return p.Verdict(first) == standing.Ended })

	p.EditKey("crm", func(k *v1alpha1.DGbotAPIKey) { k.Spec.State = v1alpha1.StateRevoked })
	p.AwaitNotReady("crm", v1alpha1.RevokedReason)
	if p.Verdict(second) != standing.Revoked || p.KeyText("crm") != second {
		t.Errorf("the revoked key is %s; its Secret was to be left alone", p.Verdict(second))
	}
}

func TestScheduledRotationAndExpiryComeByThemselves(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	end := metav1.Time{Time: time.Now().UTC().Truncate(time.Second).Add(3 * time.Second)}
	p.CreateKey("expiring", func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &end })
	p.CreateKey("later", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation.RequestedAt = &metav1.Time{Time: time.Now().UTC().Truncate(time.Second).Add(2 * time.Second)}
	})
	p.Eventually("the key expires", func() bool { return p.Verdict(p.KeyText("expiring")) == standing.Ended })
	p.AwaitNotReady("expiring", v1alpha1.ExpiredReason)
	p.Eventually("the one-off schedule is kept", func() bool {
		records := p.Records("later")
		return len(records) == 2 && p.Key("later").Status.LastHandledRequest != nil
	})
	if n := len(p.Records("expiring")); n != 1 {
		t.Errorf("%d revisions of the expired key", n)
	}
}

func TestLossIsHealedAndTold(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	for _, name := range []string{"deleted", "altered", "stripped", "recordless"} {
		p.CreateKey(name, nil)
		p.AwaitReady(name)
	}
	before := map[string]string{}
	for _, name := range []string{"deleted", "altered", "stripped", "recordless"} {
		before[name] = p.KeyText(name)
	}
	must(t, admin.Delete(t.Context(), p.Secret("deleted")))
	altered := p.Secret("altered")
	altered.Data[v1alpha1.DefaultSecretKey] = []byte(before["deleted"])
	must(t, admin.Update(t.Context(), altered))
	stripped := p.Secret("stripped")
	stripped.Labels, stripped.OwnerReferences = map[string]string{v1alpha1.APIKeyLabel: stripped.Labels[v1alpha1.APIKeyLabel]}, nil
	must(t, admin.Update(t.Context(), stripped))
	must(t, admin.Delete(t.Context(), &p.Records("recordless")[0]))

	for name, reason := range map[string]string{"deleted": "SecretLost", "altered": "SecretAltered", "recordless": "RecordLost"} {
		p.Eventually(name+" is replaced", func() bool {
			text := p.KeyText(name)
			return text != "" && text != before[name] && p.Verdict(text) == standing.Admitted
		})
		p.Eventually(name+" is reported", func() bool {
			out, err := world.Kubectl(t.Context(), "events", "-n", p.Name, "--for", "dgbotapikey/"+name, "--types=Warning").CombinedOutput()
			return err == nil && strings.Contains(string(out), reason)
		})
	}
	p.Eventually("the owner is put back", func() bool {
		secret := p.Secret("stripped")
		return len(secret.OwnerReferences) == 1 && secret.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedBy
	})
	if p.KeyText("stripped") != before["stripped"] {
		t.Error("a Secret that lost its owner lost its key as well")
	}
}

func TestWhatStandsInTheWayIsSaidAndPasses(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "taken"}, Data: map[string][]byte{"theirs": []byte("x")}}
	must(t, admin.Create(t.Context(), foreign))
	p.CreateKey("taken", nil)
	p.AwaitNotReady("taken", v1alpha1.SecretConflictReason)

	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Name, Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"secrets": resource.MustParse("1")}},
	}
	must(t, admin.Create(t.Context(), quota))
	p.Eventually("the quota is counted", func() bool {
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(quota), quota))
		return !quota.Status.Used["secrets"].Equal(resource.Quantity{})
	})
	p.CreateKey("beyond", nil)
	refused := p.AwaitNotReady("beyond", v1alpha1.SecretWriteRefusedReason)
	if !strings.Contains(refused.Message, "exceeded quota") {
		t.Errorf("the message is %q, not the API server's", refused.Message)
	}
	if records := p.Records(""); len(records) != 0 {
		t.Errorf("%d records were minted in vain: %v", len(records), records)
	}
	if secret := p.Secret("taken"); len(secret.Data) != 1 || len(secret.OwnerReferences) != 0 {
		t.Errorf("the foreign Secret was touched: %v", secret)
	}
	must(t, admin.Delete(t.Context(), quota))
	p.AwaitReady("beyond")

	immutable := p.Secret("beyond")
	yes := true
	immutable.Immutable = &yes
	must(t, admin.Update(t.Context(), immutable))
	p.EditKey("beyond", func(k *v1alpha1.DGbotAPIKey) {
		k.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: time.Now().UTC().Format(time.RFC3339)}
	})
	p.AwaitNotReady("beyond", v1alpha1.SecretWriteRefusedReason)
	if n := len(p.Records("beyond")); n != 1 {
		t.Errorf("%d records, one was to be there: nothing is minted for an immutable Secret", n)
	}
}

func TestOrphanedSecrets_AreTakenOverAndForeignOnesAreNot(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	left := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: p.Name, Name: "crm", Labels: map[string]string{v1alpha1.APIKeyLabel: "11111111-1111-1111-1111-111111111111"},
	}, Data: map[string][]byte{"theirs": []byte("stays"), v1alpha1.DefaultSecretKey: []byte("a dead key")}}
	must(t, admin.Create(t.Context(), left))
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")
	if secret := p.Secret("crm"); string(secret.Data["theirs"]) != "stays" || p.Verdict(p.KeyText("crm")) != standing.Admitted {
		t.Errorf("not taken over: %v", secret.Labels)
	}

	// A Secret whose key exists belongs to that key, whatever its name.
	p.CreateKey("second", func(k *v1alpha1.DGbotAPIKey) { k.Spec.Secret = &v1alpha1.SecretSpec{Name: "crm"} })
	p.AwaitNotReady("second", v1alpha1.SecretConflictReason)
	p.AwaitReady("crm")
}

func TestRepeatedLossIsDamped(t *testing.T) {
	startOperator(t)
	p := newPlace(t)
	p.CreateKey("crm", nil)
	p.AwaitReady("crm")
	for i := range 20 {
		before := p.KeyText("crm")
		must(t, client.IgnoreNotFound(admin.Delete(t.Context(), p.Secret("crm"))))
		p.Eventually(fmt.Sprintf("replacement %d", i+1), func() bool { return p.KeyText("crm") != "" && p.KeyText("crm") != before })
	}
	p.AwaitReady("crm")
	must(t, admin.Delete(t.Context(), p.Secret("crm")))
	damped := p.AwaitNotReady("crm", v1alpha1.SecretLossDampedReason)
	next, err := time.Parse(time.RFC3339, regexp.MustCompile(`[0-9-]+T[0-9:]+Z`).FindString(damped.Message))
	if wait := time.Until(next); err != nil || wait <= 0 || wait > 5*time.Minute {
		t.Errorf("the message does not say when the next one comes: %s", damped.Message)
	}
	// Another cause is not damped, and serves the loss as well.
	p.EditKey("crm", func(k *v1alpha1.DGbotAPIKey) {
		k.Spec.Rotation.RequestedAt = &metav1.Time{Time: time.Now().UTC().Truncate(time.Second)}
	})
	p.AwaitReady("crm")
}
