// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/verify/source"
	"dgbot.io/key-operator/internal/verify/usage"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// fleet is a verifier with a file of sources, and the clusters that the file can name.
type fleet struct {
	*Verifier
	t        *testing.T
	path     string
	clusters map[string]*cluster
	// credentials are the contents of the kubeconfigs, by the name of the cluster; a cluster without has no kubeconfig.
	mutex       sync.Mutex
	credentials map[string]string
}

const (
	homeAlone  = "sources:\n- name: home\n"
	euEntry    = "- name: eu\n  kubeconfig: eu\n  environments: [staging]\n"
	homeAndEU  = homeAlone + euEntry
	unknownKey = "no cluster"
)

// withFleet runs a verifier of the clusters home and eu in a bubble. Each has one key of staging.
func withFleet(t *testing.T, file string, test func(f *fleet), prepare ...func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, path: filepath.Join(t.TempDir(), "sources.yaml"), clusters: map[string]*cluster{}, credentials: map[string]string{"eu": "token"}}
		for _, name := range []string{"home", "eu"} {
			key := verifytest.Mint(t)
			c := &cluster{t: t, key: key.Reveal(), changes: make(chan string, 10)}
			c.list(verifytest.Event("ADDED", verifytest.Typed(verifytest.Record(key), "5")), verifytest.End("6"))
			c.leases.Fault = func(*http.Request) verifytest.Fault {
				if c.rejectsLeases.Load() {
					return verifytest.Forbidden
				}
				return verifytest.None
			}
			f.clusters[name] = c
		}
		f.write(file)
		for _, do := range prepare {
			do(f)
		}
		var err error
		f.Verifier, err = newVerifier(nil, Options{
			SourceConfig: f.path, Bound: denyAfter2m, Register: true, Pod: "pod",
			Usage: usage.Options{Namespace: "dgbot-system", FlushInterval: time.Hour, Resolution: time.Hour},
		}, f.connect, logr.Discard())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		f.sources.start(ctx)
		var following sync.WaitGroup
		following.Go(func() {
			if err := f.sources.follow(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		test(f)
		cancel()
		following.Wait()
		f.sources.wait()
	})
}

func (f *fleet) connect(e *source.Entry, _ *rest.Config) (source.Connection, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	name := e.Name
	content, ok := f.credentials[filepath.Base(e.Kubeconfig)]
	if e.Kubeconfig != "" {
		if name = filepath.Base(e.Kubeconfig); !ok {
			return source.Connection{}, errors.New("no such kubeconfig")
		}
	}
	transport := verifytest.Transport{Handler: f.clusters[name].ServeHTTP}
	return source.Connection{Config: &rest.Config{Host: "http://" + name, Transport: transport}, Digest: sha256.Sum256([]byte(content))}, nil
}

func (f *fleet) grant(name, content string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.credentials[name] = content
}

func (f *fleet) write(file string) {
	if err := os.WriteFile(f.path, []byte(file), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// change writes the file and waits until it is read.
func (f *fleet) change(file string) {
	f.write(file)
	time.Sleep(2*reloadInterval + time.Millisecond)
	synctest.Wait()
}

// expect fails the test unless /check answers for a cluster's key with a code.
func (f *fleet) expect(when, name string, want int) {
	f.t.Helper()
	key := verifytest.Mint(f.t).Reveal()
	if c := f.clusters[name]; c != nil {
		key = c.key
	}
	if got := ask(f.Verifier, http.MethodGet, "/check", key, "").Code; got != want {
		f.t.Errorf("%s: a key of %s: %d, want %d", when, name, got, want)
	}
}

// registrations returns the Leases of a cluster as they were written last, in order of their first write.
func (f *fleet) registrations(name string) (all []registration.Registration) {
	at := map[string]int{}
	for _, write := range f.clusters[name].leases.Writes() {
		if !strings.HasPrefix(write.Lease.Name, v1alpha1.VerifierLeasePrefix) {
			continue
		}
		i, ok := at[write.Lease.Name]
		if !ok {
			i = len(all)
			at[write.Lease.Name], all = i, append(all, registration.Registration{})
		}
		all[i] = registration.Of(write.Lease)
	}
	return all
}

func TestReload_AddsAndRemovesASource(t *testing.T) {
	withFleet(t, homeAlone, func(f *fleet) {
		f.expect("before", "home", 200)
		f.expect("before", "eu", 401)
		f.clusters["eu"].holdsLists.Store(true)
		f.change(homeAndEU)
		f.expect("while it is listed", "eu", 503)
		f.expect("while it is listed", "home", 200)
		f.clusters["eu"].holdsLists.Store(false)
		time.Sleep(2 * time.Second)
		f.expect("after it is listed", "eu", 200)
		f.expect("after it is listed", unknownKey, 401)
		f.write(homeAlone)
		time.Sleep(2*reloadInterval + time.Millisecond)
		synctest.Wait()
		f.expect("after it is removed", "eu", 401)
		f.expect("after it is removed", "home", 200)
		time.Sleep(10 * time.Second)
		if all := f.registrations("eu"); len(all) != 1 || !all[0].Stopped {
			t.Errorf("in eu: %+v, want one that is stopped", all)
		}
		if all := f.registrations("home"); len(all) != 1 || all[0].Stopped || f.clusters["home"].lists() != 1 {
			t.Errorf("at home: %+v, %d lists; want one registration and one list", all, f.clusters["home"].lists())
		}
	})
}

// TestReload_NarrowsAtOnceAndWidensLater: what the file takes away does not wait for the replacement, which another cluster could delay.
func TestReload_NarrowsAtOnceAndWidensLater(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		scoped := func(scope string) int {
			return ask(f.Verifier, http.MethodPost, "/v1/verify", f.clusters["eu"].key, `{"scopes":["`+scope+`"]}`).Code
		}
		if scoped("a.b") != 200 || scoped("c.d") != 200 {
			t.Fatal("the key lacks its scopes")
		}
		f.clusters["eu"].holdsLists.Store(true)
		f.change(homeAlone + euEntry + "  scopes: [a.b]\n")
		if scoped("a.b") != 200 || scoped("c.d") != 403 {
			t.Errorf("narrowed to a.b: %d, %d", scoped("a.b"), scoped("c.d"))
		}
		f.expect("while the replacement is listed", unknownKey, 503)
		f.change(homeAndEU)
		if scoped("a.b") != 200 || scoped("c.d") != 403 {
			t.Errorf("wide again, before the replacement is listed: %d, %d", scoped("a.b"), scoped("c.d"))
		}
		f.clusters["eu"].holdsLists.Store(false)
		time.Sleep(10 * time.Second)
		if scoped("c.d") != 200 {
			t.Errorf("wide again: %d", scoped("c.d"))
		}
		f.expect("after it is replaced", unknownKey, 401)
		all := f.registrations("eu")
		if len(all) != 3 {
			t.Errorf("%d registrations, want those of three entries", len(all))
		}
		for i, one := range all {
			if one.Stopped != (i < len(all)-1) {
				t.Errorf("registration %d of %d is stopped: %t", i, len(all), one.Stopped)
			}
		}
	})
}

// TestReload_WithoutAnEnvironmentItsKeysAreGone at once, and those of others stay.
func TestReload_WithoutAnEnvironmentItsKeysAreGone(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		f.clusters["eu"].holdsLists.Store(true)
		f.change(strings.ReplaceAll(homeAndEU, "[staging]", "[production]"))
		f.expect("while the replacement is listed", "eu", 401)
		f.expect("while the replacement is listed", "home", 200)
	})
}

// TestReload_KeepsTheSourcesOfAFileThatCannotBeUsed: an invalid file changes nothing, and a later valid one is applied.
func TestReload_KeepsTheSourcesOfAFileThatCannotBeUsed(t *testing.T) {
	for name, file := range map[string]string{
		"no YAML": "{", "an unknown field": homeAndEU + "  environment: staging\n", "no sources": "sources: []\n", "nothing": "",
		"a name twice": homeAndEU + euEntry, "no environments": strings.ReplaceAll(homeAndEU, "  environments: [staging]\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			withFleet(t, homeAndEU, func(f *fleet) {
				f.change(file)
				if got := testutil.ToFloat64(f.sources.isValid); got != 0 {
					t.Errorf("dgbot_verifier_source_config_valid is %v", got)
				}
				f.expect("with that file", "home", 200)
				f.expect("with that file", "eu", 200)
				f.change(homeAlone)
				if got := testutil.ToFloat64(f.sources.isValid); got != 1 {
					t.Errorf("dgbot_verifier_source_config_valid is %v with a good file", got)
				}
				f.expect("with a good file", "eu", 401)
			})
		})
	}
}

// TestReload_KeepsOutASourceThatCannotBeUsed until it can be.
func TestReload_KeepsOutASourceThatCannotBeUsed(t *testing.T) {
	withFleet(t, homeAlone, func(f *fleet) {
		f.change(strings.ReplaceAll(homeAndEU, "kubeconfig: eu", "kubeconfig: us"))
		f.expect("without its kubeconfig", "home", 200)
		f.expect("without its kubeconfig", unknownKey, 401)
		if got := testutil.ToFloat64(f.sources.isValid); got != 0 {
			t.Errorf("dgbot_verifier_source_config_valid is %v", got)
		}
		f.clusters["us"] = f.clusters["eu"]
		f.grant("us", "token")
		time.Sleep(2*reloadInterval + time.Second)
		f.expect("with its kubeconfig", "eu", 200)
		f.mutex.Lock()
		delete(f.credentials, "us")
		f.mutex.Unlock()
		f.change(strings.ReplaceAll(homeAndEU, "kubeconfig: eu", "kubeconfig: us") + "  scopes: [x]\n")
		if got := ask(f.Verifier, http.MethodPost, "/v1/verify", f.clusters["eu"].key, `{"scopes":["a.b"]}`).Code; got != 403 {
			t.Errorf("narrowed while its kubeconfig is gone: %d", got)
		}
	})
}

// TestReload_ReplacesASourceWithoutAGap, the first one among them.
func TestReload_ReplacesASourceWithoutAGap(t *testing.T) {
	file := strings.ReplaceAll(homeAndEU, "name: home\n", "name: home\n  kubeconfig: home\n")
	withFleet(t, file, func(f *fleet) {
		f.grant("home", "renewed")
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			f.expect("while the kubeconfig changes", "home", 200)
			f.expect("while the kubeconfig changes", "eu", 200)
			if code := ask(f.Verifier, http.MethodGet, "/readyz", "", "").Code; code != 200 {
				t.Errorf("/readyz %d", code)
			}
			if code := ask(f.Verifier, http.MethodPost, "/v1/identity/verify", "", `{"token":"x"}`).Code; code != 401 {
				t.Errorf("/v1/identity/verify %d", code)
			}
		}
		if all := f.registrations("home"); len(all) != 2 || !all[0].Stopped || all[1].Stopped {
			t.Errorf("at home: %+v", all)
		}
	}, func(f *fleet) { f.grant("home", "first") })
}

// TestSources_OnlyTheFirstOneMustAcceptTheRegistration: another one is denied until it does.
func TestSources_OnlyTheFirstOneMustAcceptTheRegistration(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		time.Sleep(time.Minute)
		f.expect("while it rejects the registration", "home", 200)
		f.expect("while it rejects the registration", "eu", 503)
		f.clusters["eu"].rejectsLeases.Store(false)
		time.Sleep(30 * time.Second)
		f.expect("after it accepts the registration", "eu", 200)
	}, func(f *fleet) { f.clusters["eu"].rejectsLeases.Store(true) })
}

func TestSources_HaveMetricsOfTheirOwn(t *testing.T) {
	withFleet(t, homeAndEU, func(f *fleet) {
		families, err := f.sources.gather()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for _, family := range families {
			if family.GetName() != "dgbot_verifier_records" {
				continue
			}
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					seen[label.GetName()+"="+label.GetValue()]++
				}
			}
		}
		if len(seen) != 2 || seen["source=home"] != 1 || seen["source=eu"] != 1 {
			t.Errorf("dgbot_verifier_records has labels %v", seen)
		}
	})
}
