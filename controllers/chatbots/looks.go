// SPDX-License-Identifier: Apache-2.0

package chatbots

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers/internal/read"
	"dgbot.io/key-operator/controllers/internal/reservation"
)

// chatbotLooks hold the versions of a chatbot's objects when nothing was left to do. While the cache shows the same versions, and the time
// has not come, another pass takes no request. If they are lost, that costs requests and nothing else.
type chatbotLooks struct {
	mutex sync.Mutex
	looks map[types.NamespacedName]chatbotLook
}

// sourceCheckInterval is how often the Secret that importFrom names is read. No watch covers it, since the operator does not own it. To stop
// these reads, remove importFrom.
const sourceCheckInterval = time.Minute

func imports(chatbot *v1alpha1.DGbotChatbot) bool {
	return wantsHMAC(chatbot) && chatbot.Spec.IdentityVerification.ImportFrom != nil
}

type chatbotLook struct {
	versions chatbotVersions
	wake     time.Time
	at       time.Time
}

// chatbotVersions are resourceVersions; empty for an object that does not exist.
type chatbotVersions struct{ chatbot, lock, widget, secret, replica string }

func (l *chatbotLooks) remember(seen *observed, wake, now time.Time) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.looks == nil {
		l.looks = map[types.NamespacedName]chatbotLook{}
	}
	version := func(there bool, o client.Object) string {
		if !there {
			return ""
		}
		return o.GetResourceVersion()
	}
	l.looks[client.ObjectKeyFromObject(seen.Chatbot)] = chatbotLook{wake: wake, at: now, versions: chatbotVersions{
		chatbot: seen.Chatbot.ResourceVersion, lock: version(seen.lock != nil, seen.lock), widget: version(seen.widget != nil, seen.widget),
		secret: version(seen.secret != nil, seen.secret), replica: version(seen.replica != nil, seen.replica),
	}}
}

func (l *chatbotLooks) last(name types.NamespacedName) (chatbotLook, bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	look, ok := l.looks[name]
	return look, ok
}

func (l *chatbotLooks) forget(name types.NamespacedName) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.looks, name)
}

// unchanged reports whether every object is as it was when nothing was left to do, and until when time alone changes nothing. An object
// that is not in the cache was foreign, or has lost its label, so a live read is necessary.
func (r *Reconciler) unchanged(ctx context.Context, chatbot *v1alpha1.DGbotChatbot) (wake time.Time, ok bool) {
	look, ok := r.looks.last(client.ObjectKeyFromObject(chatbot))
	now := r.Clock.Now()
	if !ok || now.Before(look.at) || !look.wake.IsZero() && !now.Before(look.wake) || look.versions.chatbot != chatbot.ResourceVersion {
		return time.Time{}, false
	}
	if imports(chatbot) && !now.Before(look.at.Add(sourceCheckInterval)) {
		return time.Time{}, false
	}
	id := reservation.NameOf(idOf(chatbot))
	type thing struct {
		name    types.NamespacedName
		object  client.Object
		version string
	}
	things := []thing{
		{id, &corev1.ConfigMap{}, look.versions.lock},
		{widgetName(chatbot), &corev1.ConfigMap{}, look.versions.widget},
		{id, read.Metadata("Secret"), look.versions.replica},
	}
	if wantsHMAC(chatbot) && r.SecretCheckInterval == 0 {
		things = append(things, thing{identitySecretName(chatbot), read.Metadata("Secret"), look.versions.secret})
	} else if wantsHMAC(chatbot) && !now.Before(look.at.Add(r.SecretCheckInterval)) {
		return time.Time{}, false
	}
	for _, t := range things {
		found, err := read.Get(ctx, r.Client, t.name, t.object)
		if err != nil || found != (t.version != "") || found && t.object.GetResourceVersion() != t.version {
			return time.Time{}, false
		}
	}
	return look.wake, true
}
