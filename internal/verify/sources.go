// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"dgbot.io/key-operator/internal/verify/serve"
	"dgbot.io/key-operator/internal/verify/source"
)

// member is a source that is followed, or will be.
type member struct {
	*source.Source
	entry   source.Entry
	isFirst bool
	// environments are those for which it may vouch: those of its entry, without those that a later file has taken away; empty for all.
	environments []string
	config       *rest.Config
	digest       [sha256.Size]byte
	metrics      prometheus.Gatherer
	// isNarrowed is set once limits of a later file count as well.
	isNarrowed bool
	// began is when it was first followed.
	began time.Time
	stop  context.CancelFunc
}

// follows reports whether a member is what an entry asks for.
func (m *member) follows(e *source.Entry, c *source.Connection, isFirst bool) bool {
	return !m.isNarrowed && m.isFirst == isFirst && m.digest == c.Digest && reflect.DeepEqual(m.entry, *e)
}

// noEnvironment stands for a source that may vouch for no environment: no key text names it.
const noEnvironment = ""

// narrow makes what a later entry takes away count at once. It reports whether the source may vouch for fewer environments.
func (m *member) narrow(e *source.Entry) (changed bool) {
	m.isNarrowed = true
	m.Keys.Restrict(e.Limits())
	if len(e.Environments) == 0 {
		return false
	}
	left := slices.Clone(e.Environments)
	if len(m.environments) > 0 {
		left = slices.DeleteFunc(left, func(name string) bool { return !slices.Contains(m.environments, name) })
	}
	if len(left) == 0 {
		left = []string{noEnvironment}
	}
	changed = !slices.Equal(left, m.environments)
	m.environments = left
	return changed
}

// sources are the clusters whose keys a Verifier accepts. After start, one goroutine changes them.
type sources struct {
	home    *rest.Config
	options Options
	connect connector
	// use makes the server answer from other data.
	use func(serve.Data)
	log logr.Logger
	now func() time.Time

	// present are those from which requests are answered, in order of precedence. next are their replacements, by name, which are not up to date
	// yet: a key that only they may know is not known to be bad.
	present []*member
	next    map[string]*member
	// names is the number of sources in the file.
	names int

	registry *prometheus.Registry
	// all is what is gathered: the registry of the process, and those of the present sources.
	all atomic.Pointer[prometheus.Gatherers]
	// isValid is 1 while the sources are as the file has them.
	isValid prometheus.Gauge
	// seen is what the last reload has read. Only what two reloads in a row have read counts: a file may be written, or one of several not yet.
	seen *reading
	// reported is the last error about the file that was logged.
	reported string

	// run follows a source until its stop is called, or the context of start ends; nil before start.
	run func(m *member)
	// rejected has the error of the first source's registration.
	rejected chan error
	group    sync.WaitGroup
}

// connector is source.Connect. Tests have another one.
type connector func(e *source.Entry, home *rest.Config) (source.Connection, error)

// newSources returns the sources that options ask for, which are not followed yet. The error says which of them cannot be.
func newSources(home *rest.Config, options Options, connect connector, registry *prometheus.Registry, log logr.Logger) (*sources, error) {
	entries, err := options.entries()
	if err != nil {
		return nil, err
	}
	s := &sources{
		home: home, options: options, connect: connect, log: log, now: clock.RealClock{}.Now, next: map[string]*member{}, names: len(entries), registry: registry,
		rejected: make(chan error, 1), use: func(serve.Data) {},
		isValid: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "dgbot_verifier_source_config_valid", Help: "0 while the file of --source-config, or a kubeconfig in it, cannot be used; otherwise 1.",
		}),
	}
	s.isValid.Set(1)
	registry.MustRegister(s.isValid)
	for i := range entries {
		connection, err := connect(&entries[i], home)
		if err != nil {
			return nil, err
		}
		m, err := s.newMember(&entries[i], connection, i == 0)
		if err != nil {
			return nil, err
		}
		s.present = append(s.present, m)
	}
	s.expose()
	return s, nil
}

// newMember returns a source for an entry.
func (s *sources) newMember(e *source.Entry, c source.Connection, isFirst bool) (*member, error) {
	options := source.Options{
		Limits: e.Limits(), PageSize: c.PageSize, IsFirst: isFirst, Bound: s.options.Bound, Register: s.options.Register,
		// A cluster that rejects the registration must not keep the verifier from answering for the others, nor a change of the file.
		RetryRejections: !isFirst || s.run != nil, Pod: s.options.Pod, Usage: s.options.Usage,
	}
	if e.UsageNamespace != "" {
		options.Usage.Namespace = e.UsageNamespace
	}
	m := &member{entry: *e, isFirst: isFirst, config: c.Config, digest: c.Digest, stop: func() {}}
	registerer, log := prometheus.Registerer(s.registry), s.log
	if e.Name != "" { // --environment selects keys; it does not say whose an unknown key may be
		m.environments = e.Environments
		own := prometheus.NewRegistry()
		registerer, log = prometheus.WrapRegistererWith(prometheus.Labels{"source": e.Name}, own), withShortTexts(log).WithValues("source", e.Name)
		m.metrics = own
	}
	var err error
	if m.Source, err = source.New(c.Config, options, registerer, log); err != nil && e.Name != "" {
		err = fmt.Errorf("source %q: %w", e.Name, err)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// start follows the sources until a context ends.
func (s *sources) start(ctx context.Context) {
	s.run = func(m *member) {
		following, stop := context.WithCancel(ctx)
		m.stop, m.began = stop, s.now()
		s.group.Go(func() {
			defer stop()
			if err := m.Run(following); err != nil {
				s.rejected <- err
			}
		})
	}
	for _, m := range s.present {
		s.run(m)
	}
}

// wait returns when all sources have ended.
func (s *sources) wait() { s.group.Wait() }

// first returns the first source.
func (s *sources) first() *member { return s.present[0] }

// data returns from what requests are answered.
func (s *sources) data() serve.Data {
	data := serve.Data{HasSeveral: s.names > 1}
	add := func(m *member) {
		data.Sources = append(data.Sources, serve.Source{Name: m.entry.Name, Keys: m.Keys, Freshness: m.KeyFreshness, Environments: m.environments})
	}
	for _, m := range s.present {
		// While the replacement of a new first source is not up to date, the earlier first source has the chatbots, wherever it is now.
		if m.isFirst && data.Chatbots == nil {
			data.Chatbots, data.ChatbotFreshness = m.Chatbots, m.ChatbotFreshness
		}
		add(m)
		if replacement := s.next[m.entry.Name]; replacement != nil {
			add(replacement)
		}
	}
	return data
}

// expose makes the server answer from the present sources, and their metrics visible.
func (s *sources) expose() {
	gatherers := prometheus.Gatherers{s.registry}
	for _, m := range s.present {
		if m.metrics != nil {
			gatherers = append(gatherers, m.metrics)
		}
	}
	s.all.Store(&gatherers)
	s.use(s.data())
}

func (s *sources) gather() ([]*dto.MetricFamily, error) { return s.all.Load().Gather() }

// named returns the present source of a name; nil for none.
func (s *sources) named(name string) *member {
	if i := slices.IndexFunc(s.present, func(m *member) bool { return m.entry.Name == name }); i >= 0 {
		return s.present[i]
	}
	return nil
}
