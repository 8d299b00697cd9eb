// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

// botChronicle writes the history of one chatbot by hand; each call is one write.
type botChronicle struct {
	changes history
	bot     *v1alpha1.DGbotChatbot
}

func newBotChronicle() *botChronicle {
	c := &botChronicle{bot: newBot("storm-x", chatbot)}
	c.bot.UID = "uid-1"
	c.ledger(nil, nil)
	return c
}

func (c *botChronicle) add(one change) {
	one.revision = int64(len(c.changes) + 1)
	one.at = epoch.Add(time.Duration(one.revision) * 10 * time.Second)
	c.changes = append(c.changes, one)
}

func (c *botChronicle) edit(how func(*v1alpha1.DGbotChatbot)) {
	how(c.bot)
	c.add(change{bot: c.bot.DeepCopy(), namespace: "storm-x", name: chatbot})
}

func hmacText(n int64) []byte { return []byte(fmt.Sprintf("%064d", n)) }

func hmacRevision(n int64, cause v1alpha1.Cause) *v1alpha1.IdentityRevision {
	return &v1alpha1.IdentityRevision{Revision: n, Hash: identity.Hash(hmacText(n)), Cause: cause, IssuedAt: *at(int(n))}
}

func (c *botChronicle) ledger(current, pending *v1alpha1.IdentityRevision) {
	c.edit(func(bot *v1alpha1.DGbotChatbot) { bot.Status.Current, bot.Status.Pending = current, pending })
}

func (c *botChronicle) secret(namespace, name string, mark string, texts ...int64) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Labels: map[string]string{v1alpha1.ChatbotLabel: "uid-1"}, Annotations: map[string]string{touchedAnnotation: mark},
	}, Data: map[string][]byte{}}
	for i, suffix := range []string{"", "-previous", "-pending"} {
		if i < len(texts) && texts[i] != 0 {
			secret.Data[v1alpha1.IdentitySecretKey+suffix] = hmacText(texts[i])
		}
	}
	c.add(change{secret: secret, namespace: namespace, name: name, deleted: len(texts) == 0})
}

func (c *botChronicle) replica(texts ...int64) {
	c.secret(v1alpha1.IdentityNamespace, replicaOf(c.bot).Name, "", texts...)
}

func (c *botChronicle) publish(texts ...int64) {
	c.secret("storm-x", chatbot+"-identity", "", texts...)
}

// issued is a chatbot's first HMAC secret, as it should be.
func issuedBot() *botChronicle {
	c := newBotChronicle()
	first := hmacRevision(1, v1alpha1.CauseFirstIssue)
	c.ledger(nil, first)
	c.replica(0, 0, 1)
	c.publish(1)
	c.ledger(first, nil)
	c.replica(1)
	return c
}

// announce announces the second revision.
func (c *botChronicle) announce(cause v1alpha1.Cause) {
	c.ledger(c.bot.Status.Current, hmacRevision(2, cause))
}

func TestTheJudgeOfHMACSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		happen func(c *botChronicle)
		want   string
	}{
		"all is well": {func(c *botChronicle) {
			c.announce(v1alpha1.CauseRequest)
			c.replica(1, 0, 2)
			c.publish(2, 1)
			c.ledger(hmacRevision(2, v1alpha1.CauseRequest), nil)
			c.replica(2, 1)
		}, ""},
		"published before verifiers know it":       {func(c *botChronicle) { c.announce(v1alpha1.CauseRequest); c.publish(2, 1) }, "promise 1"},
		"published and never announced":            {func(c *botChronicle) { c.replica(1, 0, 2); c.publish(2, 1) }, "never announced"},
		"something of its own in the replica":      {func(c *botChronicle) { c.replica(1, 9) }, "into the replica that was never announced"},
		"announced for a loss that was none":       {func(c *botChronicle) { c.announce(v1alpha1.CauseSecretLost) }, "promise 2"},
		"announced for a revocation that was none": {func(c *botChronicle) { c.announce(v1alpha1.CauseRevocation) }, "promise 2"},
		"first issued twice":                       {func(c *botChronicle) { c.announce(v1alpha1.CauseFirstIssue) }, "promise 2"},
		"both lost":                                {func(c *botChronicle) { c.replica(); c.publish(); c.announce(v1alpha1.CauseSecretLost) }, ""},
		"revoked": {func(c *botChronicle) {
			c.edit(func(bot *v1alpha1.DGbotChatbot) { bot.Spec.IdentityVerification.Rotation.RevokeIssuedBefore = at(1) })
			c.announce(v1alpha1.CauseRevocation)
		}, ""},
		"an older one put back": {func(c *botChronicle) {
			c.announce(v1alpha1.CauseRequest)
			c.replica(1, 0, 2)
			c.publish(2, 1)
			c.publish(1)
		}, "put back"},
		"one put back by the storm and healed": {func(c *botChronicle) {
			c.secret("storm-x", chatbot+"-identity", "mark", 7)
			c.secret("storm-x", chatbot+"-identity", "mark", 1)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := issuedBot()
			tc.happen(c)
			broken := strings.Join(judgeBots(c.changes).broken, "\n")
			if tc.want == "" && broken != "" || !strings.Contains(broken, tc.want) {
				t.Errorf("the judge says %q, want %q", broken, tc.want)
			}
		})
	}
}
