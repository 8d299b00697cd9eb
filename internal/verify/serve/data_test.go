// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/verify/index"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// beside is a second source of a bench, which may vouch for staging.
type beside struct {
	*bench
	keys      *index.Keys
	freshness *heard
}

func newBeside(t *testing.T) *beside {
	t.Helper()
	b := &beside{bench: newBench(t), keys: &index.Keys{}}
	b.freshness = &heard{clock: b.clock}
	b.freshness.hear()
	b.use(Source{Name: "eu", Keys: b.keys, Freshness: b.freshness, Environments: []string{"staging"}})
	return b
}

// add adds a record for a key to the second source.
func (b *beside) add(t *testing.T, key apikey.Key, change ...func(*v1alpha1.DGbotAPIKeyRecord)) string {
	t.Helper()
	if err := b.keys.Put(verifytest.Record(key, change...), 0, 1); err != nil {
		t.Fatal(err)
	}
	return key.Reveal()
}

func mint(t *testing.T, environment string) apikey.Key {
	t.Helper()
	key, err := apikey.Mint(environment)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (b *beside) expect(t *testing.T, when, text string, want int) {
	t.Helper()
	for _, path := range []string{"/check", "/v1/verify"} {
		if got := b.do(path, request{header: bearerOf(text)}).Code; got != want {
			t.Errorf("%s: %s answers %d, want %d", when, path, got, want)
		}
	}
}

func (b *beside) isReady() bool {
	answer := httptest.NewRecorder()
	b.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return answer.Code == http.StatusOK
}

// TestFind_BlamesOnlyTheSourceOfAKey stops hearing of each source in turn.
func TestFind_BlamesOnlyTheSourceOfAKey(t *testing.T) {
	b := newBeside(t)
	home, eu := b.key, b.add(t, mint(t, "staging"))
	staging, production := mint(t, "staging").Reveal(), mint(t, "production").Reveal()
	for _, tc := range []struct {
		when                                  string
		home, eu                              bool
		atHome, inEU, staging, production, no int
	}{
		{"all is well", true, true, 200, 200, 401, 401, 401},
		{"the second is stale", true, false, 200, 503, 503, 401, 401},
		{"the first is stale", false, true, 503, 200, 503, 503, 503},
		{"both are stale", false, false, 503, 503, 503, 503, 503},
	} {
		b.clock.Pass(maxStaleness + 1)
		if tc.home {
			b.bench.freshness.hear()
		}
		if tc.eu {
			b.freshness.hear()
		}
		b.expect(t, tc.when+", a key of the first", home, tc.atHome)
		b.expect(t, tc.when+", a key of the second", eu, tc.inEU)
		b.expect(t, tc.when+", an unknown key of staging", staging, tc.staging)
		b.expect(t, tc.when+", an unknown key of production", production, tc.production)
		b.expect(t, tc.when+", no key", "junk", tc.no)
		if ready := b.isReady(); ready != tc.home {
			t.Errorf("%s: ready is %t", tc.when, ready)
		}
	}
}

// TestFind_KnowsNothingOfAnEnvironmentWhoseSourceIsIncomplete: the unknown key may be one that was left out.
func TestFind_KnowsNothingOfAnEnvironmentWhoseSourceIsIncomplete(t *testing.T) {
	b := newBeside(t)
	eu := b.add(t, mint(t, "staging"))
	b.freshness.isIncomplete = true
	b.expect(t, "a key of the first", b.key, 200)
	b.expect(t, "a key of the second", eu, 200)
	b.expect(t, "an unknown key of staging", mint(t, "staging").Reveal(), 503)
	b.expect(t, "an unknown key of production", mint(t, "production").Reveal(), 401)
}

// TestFind_AnEarlierSourceCounts: what a later source says of a key that an earlier one knows is of no account, even if its record is older.
func TestFind_AnEarlierSourceCounts(t *testing.T) {
	revoked := func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateRevoked }
	for name, tc := range map[string]struct {
		first, second func(*v1alpha1.DGbotAPIKeyRecord)
		want          int
	}{
		"revoked in the first":         {revoked, nil, 401},
		"revoked in the second":        {nil, revoked, 200},
		"another hash in the first":    {func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.Hash = apikey.Hash([]byte("x")) }, nil, 401},
		"an older record in the other": {revoked, func(r *v1alpha1.DGbotAPIKeyRecord) { r.CreationTimestamp.Time = verifytest.Epoch.AddDate(-1, 0, 0) }, 401},
	} {
		t.Run(name, func(t *testing.T) {
			b, key := newBeside(t), mint(t, "staging")
			if err := b.bench.keys.Put(verifytest.Record(key, tc.first), 0, 1); err != nil {
				t.Fatal(err)
			}
			b.expect(t, "in both", b.add(t, key, tc.second), tc.want)
		})
	}
}

// TestFind_ASourceVouchesForItsEnvironmentsOnly, also if its record names an environment of its own.
func TestFind_ASourceVouchesForItsEnvironmentsOnly(t *testing.T) {
	b := newBeside(t)
	b.expect(t, "a key whose text names production", b.add(t, mint(t, "production")), 401)
}

func TestVerify_NamesTheClusterWhereThereAreSeveral(t *testing.T) {
	b := newBeside(t)
	eu := b.add(t, mint(t, "staging"))
	for text, want := range map[string]string{b.key: `"cluster":"home"`, eu: `"cluster":"eu"`} {
		if got := b.do("/v1/verify", request{header: bearerOf(text)}).Body.String(); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	b.use()
	if got := b.do("/v1/verify", request{header: bearerOf(b.key)}).Body.String(); strings.Contains(got, "cluster") {
		t.Errorf("with one source: %s", got)
	}
}

// TestUse_ForgetsASourceAtOnce: the next request is answered without it, and none is answered without sources.
func TestUse_ForgetsASourceAtOnce(t *testing.T) {
	b := newBeside(t)
	eu := b.add(t, mint(t, "staging"))
	b.expect(t, "before", eu, 200)
	b.use()
	b.expect(t, "without its source", eu, 401)
	b.Use(Data{})
	b.expect(t, "without any", b.key, 503)
	b.expect(t, "without any, junk", "junk", 503)
	if b.isReady() || b.identify(tokenBody("x")).Code != http.StatusServiceUnavailable {
		t.Error("without sources it is to be unready and to know no visitor")
	}
}
