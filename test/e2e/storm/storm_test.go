// SPDX-License-Identifier: Apache-2.0

// Package storm lets two managers, each killed again and again behind a proxy that breaks writes, look after keys that
// are changed all the time, and three verifiers follow them, while etcd and the API server crash. Then it reads everything
// that ever was in etcd, and asks whether a promise was broken, and whether a proof of a withdrawal was untrue.
package storm

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

var (
	duration = flag.Duration("storm.duration", 20*time.Second, "how long a storm lasts")
	keyCount = flag.Int("storm.keys", 100, "how many keys it goes over")
	share    = flag.Int64("storm.faults", 80, "how many of 1,000 writes are broken")
	erasing  = flag.Bool("storm.delete-records", false, "also delete records by hand, after which nothing may be left that tells what was issued")
	shaking  = flag.Duration("storm.crash-every", 12*time.Second, "how long etcd and the API server stay up")
)

var (
	world *testenv.World
	admin client.WithWatch
)

// calm bounds how long the world may take to converge after the storm. Attempts to publish that fail one after the other, as many do
// where the machine is slow, are made up to 5 minutes apart.
const calm = 6 * time.Minute

func TestMain(m *testing.M) {
	flag.Parse()
	options := testenv.Options{Config: []string{"verifier"}, Build: []func() error{controlplane.BuildOperator, controlplane.BuildVerifier}, APIServerArgs: map[string][]string{
		// The history is read when all is over.
		"etcd-compaction-interval": {"0"},
	}}
	os.Exit(testenv.RunSuite(options, prepare, func() (int, error) { return m.Run(), nil }))
}

func prepare(_ context.Context, started *testenv.World) error {
	world, admin = started, started.Admin
	return nil
}

var must = testenv.Must

func TestStorm(t *testing.T) {
	s := newStorm(t)
	s.rage()
	s.settle()
	until := s.tick()
	s.judge(s.from, until)
	s.abroad.judge()
	s.clear()
	// An etcd that has little to read starts as fast after a crash in the next storm.
	must(t, forget(t.Context(), until))
}

// clear leaves the control plane to the next storm. The keys go first and are waited for: namespaces whose deletion meets
// an API server that has just started, and has not discovered our kinds yet, end and leave their keys behind.
func (s *storm) clear() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), calm)
	defer cancel()
	for _, namespace := range s.namespaces {
		must(s.t, admin.DeleteAllOf(ctx, &v1alpha1.DGbotAPIKey{}, client.InNamespace(namespace)))
		must(s.t, admin.DeleteAllOf(ctx, &v1alpha1.DGbotChatbot{}, client.InNamespace(namespace)))
	}
	for _, namespace := range s.namespaces {
		must(s.t, wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			var keys v1alpha1.DGbotAPIKeyList
			err := admin.List(ctx, &keys, client.InNamespace(namespace), client.Limit(1))
			return len(keys.Items) == 0, err
		}))
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		must(s.t, admin.Delete(ctx, object))
		must(s.t, wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			err := admin.Get(ctx, client.ObjectKeyFromObject(object), object)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		}))
	}
}

// storm is one round.
type storm struct {
	t          *testing.T
	folder     string
	namespaces []string
	actors     []*actor
	deeds      *tally
	troupe     *troupe
	verifiers  *verifiers
	abroad     *abroad
	answers    *answers
	scraper    *scraper
	crashes    atomic.Int64
	// from and faultsEnd are revisions of etcd: of the begin, and of the end of the faults.
	from, faultsEnd int64
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	s := &storm{t: t, folder: t.TempDir(), answers: newAnswers(), deeds: &tally{done: map[string]int{}, removed: map[types.UID]bool{}}}
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "storm-clock"}})))
	s.from = s.tick()
	const actors = 10
	for i := range actors {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "storm-"}}
		must(t, admin.Create(t.Context(), namespace))
		s.namespaces = append(s.namespaces, namespace.Name)
		must(t, admin.Create(t.Context(), newBot(namespace.Name, chatbot)))
		a := &actor{namespace: namespace.Name, deeds: s.deeds, answers: s.answers}
		for k := i; k < *keyCount; k += actors {
			a.keys = append(a.keys, &victim{name: fmt.Sprintf("key-%d", k)})
		}
		s.actors = append(s.actors, a)
	}
	must(t, client.IgnoreAlreadyExists(admin.Create(t.Context(), rules())))
	must(t, admin.Patch(t.Context(), rules(), client.RawPatch(types.MergePatchType, []byte(auditRule()))))
	var err error
	s.troupe, err = newTroupe(t.Context(), s.folder)
	must(t, err)
	t.Cleanup(s.troupe.close)
	must(t, deleteLeases(t.Context()))
	s.verifiers, err = newVerifiers(t.Context(), s.namespaces, s.folder)
	must(t, err)
	t.Cleanup(s.verifiers.close)
	s.startAbroad()
	s.scraper, err = newScraper(t.Context(), s.troupe.scraped, s.folder)
	must(t, err)
	t.Cleanup(func() { _ = s.scraper.kept.Close() })
	return s
}

// enough is how many keys must be published before a storm says anything. A busy machine needs longer for them.
func enough() int64 { return int64(*keyCount) / 2 }

// rage lets everything happen at once, for the duration of the storm and until enough has come of it.
func (s *storm) rage() {
	s.t.Helper()
	for _, p := range s.troupe.proxies {
		p.share.Store(*share)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), max(5*time.Minute, 2**duration))
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() {
		pause(ctx, *duration)
		for ctx.Err() == nil && (s.deeds.seen.Load() < enough() || !auditActs(ctx)) {
			pause(ctx, 100*time.Millisecond)
		}
		cancel()
	})
	var failures [3]error
	group.Go(func() { failures[0] = s.troupe.harass(ctx) })
	group.Go(func() { failures[1] = shake(ctx, *shaking, &s.crashes) })
	group.Go(func() { failures[2] = s.verifiers.harass(ctx) })
	for _, v := range s.verifiers.all {
		group.Go(func() { s.answers.ask(ctx, v) })
	}
	group.Go(func() {
		for ctx.Err() == nil {
			_, _ = tick(ctx)
			pause(ctx, 50*time.Millisecond)
		}
	})
	group.Go(func() { s.abroad.ask(ctx, s.verifiers.all[2]) })
	group.Go(func() { s.abroad.revoke(ctx, s.verifiers.all[2]) })
	group.Go(func() { s.scraper.run(ctx) })
	for _, a := range s.actors {
		group.Go(func() { a.run(ctx) })
	}
	group.Go(func() { s.changeRules(ctx) })
	group.Go(func() { vouch(ctx) })
	group.Wait()
	must(s.t, errors.Join(failures[:]...))
	faults := map[string]int64{}
	for _, p := range s.troupe.proxies {
		p.share.Store(0)
		p.counts(faults)
	}
	s.t.Logf("%d kills, %d pauses, %d frozen watches, %d crashes of etcd or the API server\nbroken writes: %v\ndeeds: %v (%d failed)",
		s.troupe.kills.Load(), s.troupe.pauses.Load(), s.troupe.freezes.Load(), s.crashes.Load(), faults, s.deeds.done, s.deeds.failed.Load())
}

// settle lets two managers bring the world to rest, and checks that they write nothing afterwards.
func (s *storm) settle() {
	s.t.Helper()
	// Garbage collection that missed the end of a key, while the API server was down, takes a key that was created anew
	// under its name for the same one and never collects what the first one owned. It finds out when it starts.
	must(s.t, world.StopControllerManager())
	must(s.t, world.StartControllerManager(s.t.Context(), nil))
	s.endAudit()
	s.faultsEnd = s.tick()
	ctx, cancel := context.WithCancel(s.t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	s.startVerifiers(ctx, &asking)
	s.startManagers()
	go s.scraper.run(ctx)
	var unconverged []string
	err := wait.PollUntilContextTimeout(s.t.Context(), 500*time.Millisecond, calm, true, func(ctx context.Context) (bool, error) {
		_, _ = tick(ctx)
		seen, err := look(ctx, s.namespaces)
		if err != nil {
			unconverged = append(unconverged, err.Error())
			return false, nil
		}
		unconverged = seen.unconverged(time.Now())
		bots, err := unconvergedBots(ctx, s.namespaces, time.Now())
		if err != nil {
			bots = append(bots, err.Error())
		}
		unconverged = append(unconverged, bots...)
		return len(unconverged) == 0, nil
	})
	if err != nil {
		s.t.Fatalf("not converged within %s:\n%s", calm, strings.Join(append(unconverged, s.troupe.said(unconverged)...), "\n"))
	}
	s.quiet()
}

// quiet checks that a world at rest stays as it is. The first spans may still see an overlap end, or the managers' last
// look at something.
func (s *storm) quiet() {
	s.t.Helper()
	var loud []string
	for range 10 {
		from := s.tick()
		pause(s.t.Context(), 3*time.Second)
		changes, err := readHistory(s.t.Context(), s.namespaces, from, s.tick())
		must(s.t, err)
		loud = nil
		for _, c := range changes {
			if !s.scheduled(c) {
				loud = append(loud, fmt.Sprintf("%s/%s at %d (chatbot %t, key %t, record %t, Secret %t)",
					c.namespace, c.name, c.revision, c.bot != nil, c.key != nil, c.record != nil, c.secret != nil))
			}
		}
		if len(loud) == 0 {
			return
		}
	}
	s.t.Errorf("promise 6 broken: writes while nothing changes:\n%s", strings.Join(loud, "\n"))
}

// scheduled reports whether a change belongs to a key that rotates every minute.
func (s *storm) scheduled(c change) bool {
	if c.bot != nil || c.secret != nil && c.secret.Labels[v1alpha1.ChatbotLabel] != "" {
		return false
	}
	name := c.name
	if c.record != nil {
		name = c.record.Spec.APIKeyRef.Name
	}
	key := &v1alpha1.DGbotAPIKey{}
	must(s.t, admin.Get(s.t.Context(), types.NamespacedName{Namespace: c.namespace, Name: name}, key))
	return key.Spec.Rotation != nil && key.Spec.Rotation.Interval != nil
}

// judge reads the history and asks for every promise.
func (s *storm) judge(from, to int64) {
	s.t.Helper()
	changes, err := readHistory(s.t.Context(), append(slices.Clone(s.namespaces), v1alpha1.IdentityNamespace), from, to)
	must(s.t, err)
	all := changes.stories()
	s.judgeProofs(all, s.faultsEnd)
	bots := judgeBots(changes)
	for _, promise := range bots.broken {
		s.t.Error(promise)
	}
	published, minted, disabled, revoked := 0, 0, 0, 0
	for _, story := range all {
		broken := story.judge(s.deeds.hasRemoved)
		for _, promise := range broken {
			s.t.Error(promise)
		}
		if len(broken) > 0 {
			s.t.Logf("what happened to it:\n%s", story.timeline())
		}
		for _, r := range story.records {
			minted++
			d, v := r.audited()
			disabled, revoked = disabled+d, revoked+v
			if r.published != 0 {
				published++
			}
		}
	}
	s.t.Logf("%d writes, %d keys, %d revisions published, %d records minted; %d chatbots, their HMAC secrets published %d times",
		len(changes), len(all), published, minted, len(bots.bots), bots.published)
	if bots.published < len(s.namespaces) {
		s.t.Errorf("HMAC secrets were published %d times: the storm tests nothing of them", bots.published)
	}
	s.t.Logf("the audit disabled %d revisions and revoked %d", disabled, revoked)
	if disabled == 0 {
		s.t.Error("the storm tests nothing of the audit")
	}
	if int64(published) < enough() {
		s.t.Errorf("only %d revisions were published: the storm tests nothing", published)
	}
	s.leaks(from, to)
}

// leaks looks for every key that was issued in everything that was written and said.
func (s *storm) leaks(from, to int64) {
	s.t.Helper()
	canary, err := newCanary(s.t.Context(), from, to)
	must(s.t, err)
	must(s.t, os.WriteFile(filepath.Join(s.folder, "refusals"), []byte(s.deeds.refusals.String()), 0o600))
	for _, file := range []struct {
		name  string
		least int
	}{{"manager-0.log", 100}, {"manager-1.log", 100}, {"metrics", 100}, {"refusals", 1}, {"verifier-0.log", 1}, {"verifier-1.log", 1}, {"verifier-2.log", 1}} {
		lines, err := canary.searchLog(filepath.Join(s.folder, file.name))
		if err != nil || lines < file.least {
			s.t.Errorf("%s (%d lines): %v", file.name, lines, err)
		}
	}
	objects, err := canary.searchEtcd(s.t.Context(), from, to)
	must(s.t, err)
	s.t.Logf("%d keys looked for in %d objects, %d scrapes, %d refusals and all logs",
		len(canary.needles)/2, objects, s.scraper.answers.Load(), s.deeds.failed.Load())
}

// tick writes the time into etcd's history and returns the revision at which it stands.
func (s *storm) tick() int64 {
	s.t.Helper()
	var revision int64
	err := wait.PollUntilContextTimeout(s.t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var err error
		revision, err = tick(ctx)
		return err == nil, nil
	})
	must(s.t, err)
	return revision
}

func tick(ctx context.Context) (revision int64, err error) {
	clock := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "storm-clock", Name: "clock"}}
	clock.Data = map[string]string{"now": time.Now().UTC().Format(time.RFC3339Nano)}
	if err = admin.Update(ctx, clock); apierrors.IsNotFound(err) {
		err = admin.Create(ctx, clock)
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(clock.ResourceVersion, 10, 64)
}
