// SPDX-License-Identifier: Apache-2.0

package index

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unique"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/identity"
)

// Limits say which records of a cluster count. The zero value lets all of them count.
type Limits struct {
	// Environments and Namespaces are those whose records count; empty for all.
	Environments, Namespaces []string
	// Scopes are those that keys can have; empty for all. A scope of a record that none of them covers is left out.
	Scopes []v1alpha1.Scope
	// Records is the largest number of records; 0 for no limit.
	Records int64
}

// ErrFull means that a record was left out because of a limit of their number. It may count later.
var ErrFull = errors.New("record limit reached")

// maxSameID is the largest number of records with one key ID. The API server of a trusted cluster has one for each; inserting into a longer
// list would take too long.
const maxSameID = 64

// narrow returns an entry as limits let it count. The error states why it does not count.
func (l *Limits) narrow(e *Entry) (*Entry, error) {
	kept := e.traits.Value()
	if !isAmong(l.Environments, kept.environment) {
		return nil, fmt.Errorf("environment %q is not among those of the source", kept.environment)
	}
	if !isAmong(l.Namespaces, kept.namespace) {
		return nil, fmt.Errorf("namespace %q is not among those of the source", kept.namespace)
	}
	if len(l.Scopes) == 0 || kept.scopes == "" {
		return e, nil
	}
	scopes := strings.Join(slices.DeleteFunc(strings.Split(kept.scopes, " "), func(scope string) bool { return !l.cover(scope) }), " ")
	if scopes == kept.scopes {
		return e, nil
	}
	narrowed := *e
	kept.scopes = scopes
	narrowed.traits = unique.Make(kept)
	return &narrowed, nil
}

func (l *Limits) cover(scope string) bool {
	return slices.ContainsFunc(l.Scopes, func(limit v1alpha1.Scope) bool { return limit.Covers(v1alpha1.Scope(scope)) })
}

// isAmong reports whether a name is one of some names; none stand for all.
func isAmong(names []string, name string) bool {
	return len(names) == 0 || slices.Contains(names, name)
}

// Restrict lets only those records count that limits allow, beside all earlier limits. It removes the others at once, and none because of
// Limits.Records. Calls must not overlap.
func (x *Keys) Restrict(limits Limits) {
	if reflect.ValueOf(limits).IsZero() {
		return
	}
	var all []Limits
	if earlier := x.limits.Load(); earlier != nil {
		if reflect.DeepEqual((*earlier)[len(*earlier)-1], limits) {
			return
		}
		all = slices.Clone(*earlier)
	}
	all = append(all, limits)
	x.limits.Store(&all)
	for i := range x.shards {
		x.restrict(&x.shards[i], &limits)
	}
	x.changes.Add(1)
}

func (x *Keys) restrict(s *shard, limits *Limits) {
	s.lock.Lock()
	defer s.lock.Unlock()
	var firsts []*Entry
	for first := range s.entries.all {
		firsts = append(firsts, first)
	}
	for _, first := range firsts {
		for e := first; e != nil; e = e.next {
			narrowed, err := limits.narrow(e)
			if narrowed == e {
				continue
			}
			x.drop(s, e.id, func(other *Entry) bool { return other.uid == e.uid })
			if err == nil {
				x.insert(s, narrowed)
			}
		}
	}
}

// admit returns an entry as all limits let it count. The error states why it does not count; it is ErrFull if there is no room for one more record,
// or for one more with the key ID whose first entry is given.
func (x *Keys) admit(all []Limits, e, first *Entry, isNew bool) (*Entry, error) {
	for i := range all {
		limits := &all[i]
		var err error
		if e, err = limits.narrow(e); err != nil {
			return nil, err
		}
		if isNew && limits.Records > 0 && x.records.Load() >= limits.Records {
			return nil, fmt.Errorf("%w: maxRecords is %d", ErrFull, limits.Records)
		}
	}
	if isNew && first.length() >= maxSameID {
		return nil, fmt.Errorf("%w: at most %d records with one key ID", ErrFull, maxSameID)
	}
	return e, nil
}

// The largest sizes in bytes that the API server admits: a label has 100 characters, the name of a namespace is a DNS label.
const (
	maxLabel     = 400
	maxNamespace = 63
)

// checkForm returns an error that names the first field that does not have the form that the API server enforces. The API server may be that
// of a cluster which is trusted with one environment only: a scope with a space would be two, one of which no limit has seen, and what headers
// contain must not end them.
func checkForm(record *v1alpha1.DGbotAPIKeyRecord) error {
	spec := &record.Spec
	switch {
	case !apikey.ValidEnvironment(spec.Environment):
		return errors.New("spec.environment: not a valid name")
	case len(record.Namespace) > maxNamespace:
		return fmt.Errorf("metadata.namespace: %d characters, want at most %d", len(record.Namespace), maxNamespace)
	case len(spec.Label) > maxLabel:
		return fmt.Errorf("spec.label: %d bytes, want at most %d", len(spec.Label), maxLabel)
	case spec.ChatbotID != "" && !identity.ValidChatbotID(spec.ChatbotID):
		return errors.New("spec.chatbotID: not a valid ID")
	case len(spec.Scopes) > v1alpha1.MaxScopes:
		return fmt.Errorf("spec.scopes: %d scopes, want at most %d", len(spec.Scopes), v1alpha1.MaxScopes)
	case slices.ContainsFunc(spec.Scopes, func(scope v1alpha1.Scope) bool { return !scope.IsValid() }):
		return errors.New("spec.scopes: one of them is not a valid scope")
	case strings.ContainsFunc(string(spec.APIKeyRef.UID), func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("spec.apiKeyRef.uid: it has other characters than visible ASCII")
	}
	return nil
}
