// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// TestReload_WithoutAnEnvironmentItsTextsAreGone at once: a record of another environment does not make a key valid whose text names one that the
// file has taken away, and an unknown key of that environment no longer waits for the source.
func TestReload_WithoutAnEnvironmentItsTextsAreGone(t *testing.T) {
	key, err := apikey.Mint("production")
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := apikey.Mint("production")
	if err != nil {
		t.Fatal(err)
	}
	wide := strings.ReplaceAll(homeAndEU, "[staging]", "[staging, production]")
	withFleet(t, wide, func(f *fleet) {
		check := func(text string) int { return ask(f.Verifier, http.MethodGet, "/check", text, "").Code }
		if check(key.Reveal()) != 200 || check(unknown.Reveal()) != 401 {
			t.Fatalf("before: %d, %d", check(key.Reveal()), check(unknown.Reveal()))
		}
		f.clusters["eu"].holdsLists.Store(true)
		f.change(homeAndEU)
		for range 10 {
			if check(key.Reveal()) != 401 || check(unknown.Reveal()) != 401 {
				t.Errorf("without production: %d, an unknown key %d", check(key.Reveal()), check(unknown.Reveal()))
			}
			time.Sleep(time.Minute)
		}
		f.expect("after its connection was lost for long", "home", 200)
	}, func(f *fleet) {
		f.clusters["eu"].list(verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(key), "5")), verifytest.End("6"))
	})
}

// TestReload_IdentitiesFollowTheFirstSource, also where the earlier first one is dead and its replacement never comes.
func TestReload_IdentitiesFollowTheFirstSource(t *testing.T) {
	file := "sources:\n- {name: home, kubeconfig: home}\n- {name: eu, kubeconfig: eu, environments: [staging]}\n"
	withFleet(t, file, func(f *fleet) {
		f.clusters["home"].holdsLists.Store(true)
		f.change("sources:\n- {name: eu, kubeconfig: eu, environments: [staging]}\n- {name: home, kubeconfig: home, environments: [staging]}\n")
		time.Sleep(chatbotPause + time.Second)
		synctest.Wait() // the sources are read, which another goroutine changes
		if data := f.sources.data(); data.Chatbots != f.sources.named("eu").Chatbots || f.sources.first().entry.Name != "eu" {
			t.Errorf("identities follow another source than the first, %s", f.sources.first().entry.Name)
		}
	}, func(f *fleet) { f.grant("home", "token") })
}

// TestReload_TellsOfAReplacementThatDoesNotCome, in the metric.
func TestReload_TellsOfAReplacementThatDoesNotCome(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		f.clusters["eu"].holdsLists.Store(true)
		f.grant("eu", "a token that is good for nothing")
		time.Sleep(maxReplacing / 2)
		if got := testutil.ToFloat64(f.sources.isValid); got != 1 {
			t.Errorf("at once: dgbot_verifier_source_config_valid is %v", got)
		}
		time.Sleep(maxReplacing)
		if got := testutil.ToFloat64(f.sources.isValid); got != 0 {
			t.Errorf("later: dgbot_verifier_source_config_valid is %v", got)
		}
		f.expect("meanwhile", "eu", 200)
		f.clusters["eu"].holdsLists.Store(false)
		time.Sleep(10 * time.Second)
		if got := testutil.ToFloat64(f.sources.isValid); got != 1 {
			t.Errorf("after it is replaced: dgbot_verifier_source_config_valid is %v", got)
		}
	})
}

// TestReload_AnUnusableEntryTakesNoPlace: in front of the first source, it takes no readiness and no chatbots from it.
func TestReload_AnUnusableEntryTakesNoPlace(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		f.change("sources:\n- {name: us, kubeconfig: us}\n- {name: home, environments: [staging]}\n" + euEntry)
		for range 20 {
			time.Sleep(time.Second)
			f.expect("with an unusable entry", "home", 200)
			if code := ask(f.Verifier, http.MethodPost, "/v1/identity/verify", "", `{"token":"x"}`).Code; code != 401 {
				t.Errorf("/v1/identity/verify %d", code)
			}
		}
	})
}

// TestReload_AMissingKubeconfigReplacesNothing if the entry is as it was.
func TestReload_AMissingKubeconfigReplacesNothing(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		f.mutex.Lock()
		delete(f.credentials, "eu")
		f.mutex.Unlock()
		time.Sleep(5 * time.Second)
		f.expect("without its kubeconfig", "eu", 200)
		f.grant("eu", "token")
		time.Sleep(10 * time.Second)
		f.expect("with its kubeconfig", "eu", 200)
		if all := f.registrations("eu"); len(all) != 1 || f.clusters["eu"].lists() != 1 {
			t.Errorf("%d registrations, %d lists", len(all), f.clusters["eu"].lists())
		}
	})
}

// TestReload_TakesNoFileThatIsBeingWritten: a half of it can be valid and wider.
func TestReload_TakesNoFileThatIsBeingWritten(t *testing.T) {
	narrow := homeAndEU + "  scopes: [x]\n"
	withFleet(t, narrow, func(f *fleet) {
		for range 50 {
			f.write(homeAndEU)
			time.Sleep(reloadInterval - time.Millisecond)
			f.write(narrow)
			time.Sleep(reloadInterval)
			if got := ask(f.Verifier, http.MethodPost, "/v1/verify", f.clusters["eu"].key, `{"scopes":["a.b"]}`).Code; got != 403 {
				t.Fatalf("the scope of a half-written file is granted: %d", got)
			}
		}
	})
}

// TestReload_MarksALeaseWhoseAnswersWereLost as stopped when its source is removed: the API server has stored it, and an operator would wait for it.
func TestReload_MarksALeaseWhoseAnswersWereLost(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		time.Sleep(10 * time.Second)
		f.change(homeAlone)
		time.Sleep(time.Minute)
		all := f.registrations("eu")
		for i, one := range all {
			if !one.Stopped {
				t.Errorf("registration %d of %d is not marked stopped", i, len(all))
			}
		}
		if len(all) == 0 {
			t.Error("nothing was registered")
		}
	}, func(f *fleet) {
		f.clusters["eu"].leases.Fault = func(r *http.Request) verifytest.Fault {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/leases") {
				return verifytest.LostAnswer
			}
			return verifytest.None
		}
	})
}
