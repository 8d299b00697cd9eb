// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/identity"
)

const (
	// chatbot is what half of the keys are for. It is there all the time, and waited for like everything else.
	chatbot = "bot"
	// mortal is a chatbot that comes and goes, and adopts the same ID each time.
	mortal = "mortal"

	wantsHMAC = `{"spec":{"identityVerification":{"rotation":{"overlap":"2s"}}}}`
)

// newBot is a chatbot with an HMAC secret.
func newBot(namespace, name string) *v1alpha1.DGbotChatbot {
	bot := &v1alpha1.DGbotChatbot{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.DGbotChatbotSpec{DisplayName: "Storm", Environment: "staging", IdentityVerification: &v1alpha1.IdentityVerification{
			Rotation: &v1alpha1.IdentityRotation{Overlap: &metav1.Duration{Duration: 2 * time.Second}},
		}},
	}
	if name == mortal {
		bot.Spec.ChatbotID = mortalID(namespace)
	}
	return bot
}

func mortalID(namespace string) string { return "cb_" + namespace }

// botDeed is something that is done to a chatbot.
type botDeed struct {
	name string
	do   func(a *actor, ctx context.Context) error
}

var botDeeds = []botDeed{
	{"rotate an HMAC secret", func(a *actor, ctx context.Context) error {
		return a.annotateBot(ctx, v1alpha1.RotateRequestedAtAnnotation, second(0))
	}},
	{"rotate an HMAC secret", func(a *actor, ctx context.Context) error {
		return a.patchBot(ctx, `{"spec":{"identityVerification":{"rotation":{"requestedAt":%q}}}}`, second(0))
	}},
	{"plan to rotate an HMAC secret", func(a *actor, ctx context.Context) error {
		return a.annotateBot(ctx, v1alpha1.RotateRequestedAtAnnotation, second(rand.N(4*time.Second)))
	}},
	{"revoke an HMAC secret", func(a *actor, ctx context.Context) error {
		return a.annotateBot(ctx, v1alpha1.RevokeIssuedBeforeAnnotation, second(0))
	}},
	{"change the overlap of an HMAC secret", func(a *actor, ctx context.Context) error {
		return a.patchBot(ctx, `{"spec":{"identityVerification":{"rotation":{"overlap":%q}}}}`, []string{"0s", "1s", "3s"}[rand.IntN(3)])
	}},
	{"want no HMAC secret", func(a *actor, ctx context.Context) error {
		if rand.IntN(3) != 0 {
			return nil
		}
		return a.patchBot(ctx, `{"spec":{"identityVerification":null}}`)
	}},
	{"want an HMAC secret", func(a *actor, ctx context.Context) error { return a.patchBot(ctx, wantsHMAC) }},
	{"delete an HMAC secret", func(a *actor, ctx context.Context) error {
		return admin.Delete(ctx, &corev1.Secret{ObjectMeta: a.botSecret()})
	}},
	{"garble an HMAC secret", func(a *actor, ctx context.Context) error { return garble(ctx, a.botSecret()) }},
	{"delete the replica of an HMAC secret", func(a *actor, ctx context.Context) error {
		replica, err := a.botReplica(ctx)
		if err != nil {
			return err
		}
		return admin.Delete(ctx, &corev1.Secret{ObjectMeta: replica})
	}},
	{"garble the replica of an HMAC secret", func(a *actor, ctx context.Context) error {
		replica, err := a.botReplica(ctx)
		if err != nil {
			return err
		}
		return garble(ctx, replica)
	}},
	{"delete a chatbot", func(a *actor, ctx context.Context) error {
		return admin.Delete(ctx, &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: mortal}})
	}},
	{"create a chatbot", func(a *actor, ctx context.Context) error { return admin.Create(ctx, newBot(a.namespace, mortal)) }},
	{"create a chatbot", func(a *actor, ctx context.Context) error { return admin.Create(ctx, newBot(a.namespace, mortal)) }},
}

// actOnBot does one deed to a chatbot of the namespace.
func (a *actor) actOnBot(ctx context.Context) {
	chosen := botDeeds[rand.IntN(len(botDeeds))]
	if err := chosen.do(a, ctx); err != nil {
		a.deeds.failed.Add(1)
		_, _ = fmt.Fprintln(&a.deeds.refusals, err)
		return
	}
	a.deeds.count(chosen.name)
}

func (a *actor) patchBot(ctx context.Context, format string, args ...any) error {
	bot := &v1alpha1.DGbotChatbot{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: chatbot}}
	return admin.Patch(ctx, bot, client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(format, args...))))
}

func (a *actor) annotateBot(ctx context.Context, name, value string) error {
	return a.patchBot(ctx, `{"metadata":{"annotations":{%q:%q}}}`, name, value)
}

func (a *actor) botSecret() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: a.namespace, Name: chatbot + "-identity"}
}

func (a *actor) botReplica(ctx context.Context) (metav1.ObjectMeta, error) {
	bot := &v1alpha1.DGbotChatbot{}
	err := admin.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: chatbot}, bot)
	return replicaOf(bot), err
}

// replicaOf returns the name of the replica of a chatbot's HMAC secret.
func replicaOf(bot *v1alpha1.DGbotChatbot) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: v1alpha1.IdentityNamespace, Name: identity.ReservationName(idOf(bot))}
}

// idOf is the ID of a chatbot.
func idOf(bot *v1alpha1.DGbotChatbot) string {
	if bot.Spec.ChatbotID != "" {
		return bot.Spec.ChatbotID
	}
	return identity.ChatbotIDOf(string(bot.UID))
}

// garble writes something else over an HMAC secret, with a mark by which the judge knows that it was not the operator.
func garble(ctx context.Context, secret metav1.ObjectMeta) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}},"data":{%q:%q}}`, touchedAnnotation, rand.Uint64(),
		v1alpha1.IdentitySecretKey, base64.StdEncoding.EncodeToString([]byte(fmt.Sprintf("garbled by the storm %d", rand.Uint64()))))
	return admin.Patch(ctx, &corev1.Secret{ObjectMeta: secret}, client.RawPatch(types.MergePatchType, []byte(patch)))
}
