// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/controllers"
	"dgbot.io/key-operator/internal/lifecycle"
	"dgbot.io/key-operator/internal/lifecycle/chatbots"
	"dgbot.io/key-operator/internal/lifecycle/standing"
)

// One object that the API server takes and Go cannot decode would stop the informers of every operator, for every
// tenant. So nearly valid objects are thrown at the API server, and whatever it takes is read and written with the
// typed client.

// times and durations are valid, nearly valid, or valid for one of the two decoders only.
var (
	times = []string{
		"2126-11-23T10:00:00Z", "2126-11-23T10:00:00+05:30", "2126-11-23T10:00:00-00:00", "2126-11-23t10:00:00z", "2126-11-23T10:00:00.5Z",
		"2126-11-23 10:00:00Z", "2126-11-23T10:00:00", "2126-11-23T24:00:00Z", "2126-11-23T10:00:60Z", "2126-02-30T10:00:00Z",
		"2126-11-23T10:00:00+99:99", "2126-11-23T10:00:00X5Z", "2999-12-31T23:59:59-23:59", "1000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
		"0000-00-00T00:00:00Z", "0001-01-01T00:00:00Z", "8999-12-31T23:59:59Z", "8999-12-31T23:59:59-23:59", "9000-01-01T00:00:00+01:00", "2126-1-1T0:0:0Z", "", "2127-06-01T12:34:56Z", "2128-02-29T23:59:59+14:00",
	}
	durations = []string{
		"1m", "90m", "2160h", "24h", "0s", "1h30m", "1m1.5s", "60000ms", "1500ms", "0h0m0s0ms", "876000h", "876001h", "999999h999999m999999s",
		"1d", "90d", "1w", "1h 30m", " 1h", "1H", "-1h", "+1h", "1.5h", ".5s", "5.s", "1µs", "1us", "1ns", "1h1h", "1m1h", "1e3s", "1_0h", "", "h", "0", "１h", "999999999h", "0.001s",
	}
	names  = []string{"crm", "a", "a.b-c", "A", "-a", "a_b", "", "ü", long(253), long(254)}
	labels = []string{"CRM", " ", "", "ü", "\u0000", "\t", "a\nb", "🤖", long(100), long(101)}
)

// scribe makes random objects.
type scribe struct{ random *rand.Rand }

func pick[T any](s scribe, from []T) T { return from[s.random.IntN(len(from))] }

// mostly returns good nine times out of ten: an object with twenty doubtful fields is never accepted.
func mostly[T any](s scribe, good T, from []T) T {
	if s.random.IntN(10) > 0 {
		return good
	}
	return pick(s, from)
}

// sometimes sets a field, to something or to null, or leaves it out.
func (s scribe) sometimes(fields map[string]any, name string, value func() any) {
	switch s.random.IntN(20) {
	case 0:
		fields[name] = nil
	case 1, 2, 3, 4, 5, 6, 7, 8, 9:
		fields[name] = value()
	}
}

func (s scribe) time() any {
	return mostly(s, pick(s, []string{times[0], times[1], times[len(times)-1]}), times)
}
func (s scribe) duration() any {
	return mostly(s, pick(s, []string{"0s", "1500ms", "1m1.5s", "24h"}), durations)
}
func (s scribe) state() any {
	return mostly(s, "Active", []string{"Active", "Disabled", "Revoked", "active", ""})
}
func (s scribe) retire() any {
	return mostly(s, pick(s, []string{"AfterOverlap", "WhenUnused"}), []string{"Never", ""})
}
func (s scribe) scopes() any {
	list := make([]string, s.random.IntN(4))
	for i := range list {
		list[i] = fmt.Sprintf("%s.%d", mostly(s, "a", []string{"A", "*", "", "a:b"}), s.random.IntN(99))
	}
	return list
}

func (s scribe) stringMap() any {
	return map[string]string{mostly(s, "a", names): mostly(s, "b", labels)}
}

func (s scribe) key(i int) *unstructured.Unstructured {
	spec := map[string]any{"label": mostly(s, "CRM", labels), "environment": mostly(s, "production", names)}
	s.sometimes(spec, "scopes", s.scopes)
	s.sometimes(spec, "state", s.state)
	s.sometimes(spec, "expiresAt", s.time)
	s.sometimes(spec, "rotation", func() any {
		rotation := map[string]any{}
		s.sometimes(rotation, "interval", func() any { return mostly(s, pick(s, []string{"2160h", "25h30m"}), durations) })
		s.sometimes(rotation, "overlap", s.duration)
		s.sometimes(rotation, "quietPeriod", s.duration)
		s.sometimes(rotation, "maxOverlap", s.duration)
		s.sometimes(rotation, "retire", s.retire)
		s.sometimes(rotation, "requestedAt", func() any { return mostly(s, "2026-11-23T10:00:00Z", times) })
		s.sometimes(rotation, "revokeIssuedBefore", func() any { return mostly(s, "2026-11-23T10:00:00+01:00", times) })
		return rotation
	})
	s.sometimes(spec, "secret", func() any {
		secret := map[string]any{}
		s.sometimes(secret, "name", func() any { return mostly(s, "crm", names) })
		s.sometimes(secret, "key", func() any { return mostly(s, "token", append(names, "key-id", "..")) })
		s.sometimes(secret, "template", func() any { return map[string]any{"labels": s.stringMap(), "annotations": s.stringMap()} })
		return secret
	})
	return s.object(v1alpha1.APIKeyKind, i, spec)
}

func (s scribe) record(i int) *unstructured.Unstructured {
	spec := map[string]any{
		"apiKeyRef": map[string]any{"name": mostly(s, "crm", names), "uid": mostly(s, "0-0", labels)},
		"revision":  mostly(s, 1, []int{0, -1, 1 << 40, 9999999999}), "cause": mostly(s, "Schedule", []string{"", "schedule", "Request"}),
		"keyID": fmt.Sprintf("%012d", i), "hash": fmt.Sprintf("sha256:%064x", i), "environment": mostly(s, "production", names),
		"issuedAt": s.time(), "label": mostly(s, "CRM", labels),
	}
	s.sometimes(spec, "scopes", s.scopes)
	s.sometimes(spec, "notAfter", s.time)
	s.sometimes(spec, "state", s.state)
	return s.object(v1alpha1.APIKeyRecordKind, i, spec)
}

func (s scribe) chatbot(i int) *unstructured.Unstructured {
	spec := map[string]any{"displayName": mostly(s, "Support bot", labels), "environment": mostly(s, "production", names)}
	s.sometimes(spec, "chatbotID", func() any { return mostly(s, fmt.Sprintf("cb_%d", i), labels) })
	s.sometimes(spec, "widget", func() any {
		return map[string]any{"scriptURL": mostly(s, "https://cdn.example.com/w.js?a=b", []string{"http://a", "https://", "https://a b", "https://[::1]/w.js"})}
	})
	s.sometimes(spec, "identityVerification", func() any {
		iv := map[string]any{}
		s.sometimes(iv, "rotation", func() any {
			rotation := map[string]any{}
			s.sometimes(rotation, "interval", func() any { return mostly(s, pick(s, []string{"2160h", "25h30m"}), durations) })
			s.sometimes(rotation, "overlap", s.duration)
			s.sometimes(rotation, "requestedAt", s.time)
			s.sometimes(rotation, "revokeIssuedBefore", s.time)
			return rotation
		})
		s.sometimes(iv, "importFrom", func() any {
			return map[string]any{"name": mostly(s, "existing", names), "key": mostly(s, "hmac", append(names, ".."))}
		})
		s.sometimes(iv, "acceptPlain", func() any { return true })
		return iv
	})
	return s.object(v1alpha1.ChatbotKind, i, spec)
}

func (s scribe) object(kind string, i int, spec map[string]any) *unstructured.Unstructured {
	content, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind,
		"metadata": map[string]any{"namespace": randomNamespace, "name": fmt.Sprintf("random-%d", i)}, "spec": spec,
	})
	if err != nil {
		panic(err)
	}
	result := &unstructured.Unstructured{}
	if err := json.Unmarshal(content, result); err != nil {
		panic(err)
	}
	return result
}

const (
	randomNamespace = "random"
	wanted          = 1000
)

func TestWhateverIsAcceptedCanBeDecoded(t *testing.T) {
	if out, err := kubectl(t, "", "create", "namespace", randomNamespace); err != nil {
		t.Fatal(out)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := scribe{rand.New(rand.NewPCG(seed, 1))}

	keys := acceptSome(t, s.key)
	records := acceptSome(t, s.record)
	accepted := acceptSome(t, s.chatbot)
	for _, name := range keys {
		key := &v1alpha1.DGbotAPIKey{}
		resend(t, name, key)
		lifecycle.Plan(lifecycle.Observation{Key: key}, time.Now())
	}
	for _, name := range records {
		record := &v1alpha1.DGbotAPIKeyRecord{}
		resend(t, name, record)
		standing.Admit(record, time.Now())
	}
	for _, name := range accepted {
		chatbot := &v1alpha1.DGbotChatbot{}
		resend(t, name, chatbot)
		chatbots.Plan(chatbots.Observation{Chatbot: chatbot, ID: "cb_1", Reservation: chatbots.ReservationOwned}, time.Now())
	}
	informersSync(t, len(keys), len(records), len(accepted))
}

// acceptSome creates objects until enough were accepted, and returns these. A generator whose objects are all accepted,
// or hardly any, would test nothing.
func acceptSome(t *testing.T, generate func(int) *unstructured.Unstructured) []client.ObjectKey {
	t.Helper()
	var accepted []client.ObjectKey
	refused := 0
	for i := 0; len(accepted) < wanted; i++ {
		o := generate(i)
		if err := admin.Create(t.Context(), o); err != nil {
			refused++
		} else {
			accepted = append(accepted, client.ObjectKeyFromObject(o))
		}
		if refused > 10*wanted {
			t.Fatalf("%d of %d accepted: the generator is too wild", len(accepted), i)
		}
	}
	if refused < wanted/10 {
		t.Fatalf("%d refused: the generator is too tame", refused)
	}
	t.Logf("%d accepted, %d refused", len(accepted), refused)
	return accepted
}

// resend reads an object with the typed client and writes it back as that encodes it: what a Go program that only
// changes a label would do.
func resend(t *testing.T, name client.ObjectKey, into client.Object) {
	t.Helper()
	if err := admin.Get(t.Context(), name, into); err != nil {
		t.Errorf("%s cannot be decoded: %v", name, err)
		return
	}
	into.SetLabels(map[string]string{"seen": "yes"})
	if err := admin.Update(t.Context(), into); err != nil {
		spec, _ := json.Marshal(into)
		t.Errorf("%s is refused when it is written back: %v\n%s", name, err, spec)
	}
}

// informersSync starts typed informers, as the operator does, and waits until they have everything.
func informersSync(t *testing.T, keys, records, chatbots int) {
	t.Helper()
	scheme, err := controllers.Scheme()
	must(t, err)
	informers, err := cache.New(cluster.Config, cache.Options{Scheme: scheme, DefaultNamespaces: map[string]cache.Config{randomNamespace: {}}})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { _ = informers.Start(ctx) }()
	var keyList v1alpha1.DGbotAPIKeyList
	must(t, informers.List(ctx, &keyList))
	var recordList v1alpha1.DGbotAPIKeyRecordList
	must(t, informers.List(ctx, &recordList))
	var chatbotList v1alpha1.DGbotChatbotList
	must(t, informers.List(ctx, &chatbotList))
	if len(keyList.Items) != keys || len(recordList.Items) != records || len(chatbotList.Items) != chatbots {
		t.Errorf("the informers hold %d keys, %d records and %d chatbots, want %d, %d and %d",
			len(keyList.Items), len(recordList.Items), len(chatbotList.Items), keys, records, chatbots)
	}
}
