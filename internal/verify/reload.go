// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"dgbot.io/key-operator/internal/verify/source"
)

const (
	// reloadInterval is the time between two readings of the file of --source-config and the kubeconfigs. A file watch is not reliable here: the
	// kubelet replaces a mounted ConfigMap or Secret by changing a symbolic link.
	reloadInterval = time.Second
	// swapInterval is the time between two checks whether a replacement is up to date.
	swapInterval = 100 * time.Millisecond
	// chatbotPause is how long a replacement of the first source waits for its chatbots: it may have no right to list them.
	chatbotPause = 30 * time.Second
	// answerTime is much longer than the time between the reading of a request and its answer, which takes microseconds.
	answerTime = time.Second
	// maxReplacing is how long a replacement may take before the metric and the log tell of it.
	maxReplacing = time.Minute
)

// follow keeps the sources as the file has them, until the context ends. It returns the error of a registration that the first source's API
// server rejects at the start.
func (s *sources) follow(ctx context.Context) error {
	if s.options.SourceConfig == "" {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.rejected:
			return err
		}
	}
	swaps, reloads := time.NewTicker(swapInterval), time.NewTicker(reloadInterval)
	defer swaps.Stop()
	defer reloads.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.rejected:
			return err
		case <-swaps.C:
			s.swap()
		case <-reloads.C:
			s.reload()
		}
	}
}

// reading is what a reload has read: the entries of the file and, for each of them, its connection or why there is none.
type reading struct {
	entries     []source.Entry
	connections []source.Connection
	problems    []error
}

func (s *sources) read() (*reading, error) {
	entries, err := s.options.entries()
	if err != nil {
		return nil, err
	}
	r := &reading{entries, make([]source.Connection, len(entries)), make([]error, len(entries))}
	for i := range entries {
		r.connections[i], r.problems[i] = s.connect(&entries[i], s.home)
	}
	return r, nil
}

// isSame reports whether two readings have the same content.
func (r *reading) isSame(other *reading) bool {
	if other == nil || !reflect.DeepEqual(r.entries, other.entries) {
		return false
	}
	for i := range r.entries {
		if r.connections[i].Digest != other.connections[i].Digest || (r.problems[i] == nil) != (other.problems[i] == nil) {
			return false
		}
	}
	return true
}

// reload reads the file, and applies it if the previous reload has read the same. With a file that cannot be used, the sources stay as they are.
func (s *sources) reload() {
	now, err := s.read()
	before := s.seen
	s.seen = now
	if err == nil && !now.isSame(before) {
		return
	}
	if err == nil {
		err = errors.Join(s.apply(now), s.overdue())
	}
	s.report(err)
}

// overdue returns an error that names the replacements that are not up to date after maxReplacing.
func (s *sources) overdue() error {
	var late []error
	for _, name := range slices.Sorted(maps.Keys(s.next)) {
		if s.now().Sub(s.next[name].began) > maxReplacing {
			late = append(late, fmt.Errorf("source %q has changed, and its records cannot be listed with what it is now: see its other lines in the log; "+
				"until they can, the verifier answers from the connection before the change", name))
		}
	}
	return errors.Join(late...)
}

// report logs an error once, and shows it in the metric.
func (s *sources) report(err error) {
	if err == nil {
		if s.reported != "" {
			s.log.Info("The file of sources is applied", "file", s.options.SourceConfig)
		}
		s.reported = ""
		s.isValid.Set(1)
		return
	}
	s.isValid.Set(0)
	if text := err.Error(); text != s.reported {
		s.log.Error(err, "Applying the file of sources failed; what it does not remove stays in use", "file", s.options.SourceConfig)
		s.reported = text
	}
}

// apply makes the sources those of a file. What the file takes away counts at once: a removed source, and the environments, namespaces and scopes
// of a narrower one. Everything else that changes makes a replacement, which is registered and listed before it takes the place of the source.
// An entry that cannot be used has no effect beyond what it takes away. The error names all of them.
func (s *sources) apply(read *reading) error {
	var (
		kept      []*member
		problems  []error
		replaced  = map[string]*member{}
		isChanged = s.names != len(read.entries)
	)
	for i := range read.entries {
		// An entry that cannot be used takes the first place from no source.
		e, isFirst := &read.entries[i], len(kept) == 0
		connection, err, present := read.connections[i], read.problems[i], s.named(e.Name)
		switch {
		case present == nil && err == nil:
			present, err = s.add(e, connection, isFirst)
		case present == nil:
		case err != nil && reflect.DeepEqual(present.entry, *e): // it keeps its connection
		case err != nil:
			isChanged = present.narrow(e) || isChanged
		case !present.follows(e, &connection, isFirst):
			isChanged = present.narrow(e) || isChanged
			var replacement *member
			if replacement, err = s.replace(e, connection, isFirst); err == nil {
				replaced[e.Name] = replacement
			}
		}
		if err != nil {
			problems = append(problems, err)
		}
		if present != nil {
			kept = append(kept, present)
		}
	}
	if isChanged || !slices.Equal(kept, s.present) || !maps.Equal(replaced, s.next) {
		s.change(kept, replaced, len(read.entries))
	}
	return errors.Join(problems...)
}

// add follows the source of an entry that is new.
func (s *sources) add(e *source.Entry, c source.Connection, isFirst bool) (*member, error) {
	m, err := s.newMember(e, c, isFirst)
	if err != nil {
		return nil, err
	}
	s.log.Info("Added a source", "source", e.Name)
	s.run(m)
	return m, nil
}

// replace returns the replacement of a source, which is followed.
func (s *sources) replace(e *source.Entry, c source.Connection, isFirst bool) (*member, error) {
	if m := s.next[e.Name]; m != nil && m.follows(e, &c, isFirst) {
		return m, nil
	}
	m, err := s.newMember(e, c, isFirst)
	if err != nil {
		return nil, err
	}
	s.log.Info("A source has changed and is replaced once its records are listed", "source", e.Name)
	s.run(m)
	return m, nil
}

// change answers from other sources, and then ends those that are no longer among them.
func (s *sources) change(present []*member, next map[string]*member, names int) {
	before := slices.Clone(s.present)
	for _, m := range s.next {
		before = append(before, m)
	}
	s.present, s.next, s.names = present, next, names
	s.expose()
	for _, m := range before {
		if !slices.Contains(present, m) && next[m.entry.Name] != m {
			s.log.Info("A source is no longer used", "source", m.entry.Name)
			time.AfterFunc(answerTime, m.stop) // its registration says that it gives no more answers
		}
	}
}

// swap puts replacements that are up to date in the place of their sources.
func (s *sources) swap() {
	for name, m := range s.next {
		replaced := s.named(name)
		now := s.now()
		lacksChatbots := m.isFirst && replaced.ChatbotFreshness.Answers(now) && !m.ChatbotFreshness.Answers(now)
		if !m.Answers(now) || lacksChatbots && now.Sub(m.began) < chatbotPause {
			continue
		}
		present, next := slices.Clone(s.present), map[string]*member{}
		present[slices.Index(present, replaced)] = m
		for other, replacement := range s.next {
			if other != name {
				next[other] = replacement
			}
		}
		s.log.Info("Replaced a source", "source", name)
		s.change(present, next, s.names)
	}
}
