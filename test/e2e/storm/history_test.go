// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/effective"
)

// What happened is read from etcd when all is over: every version of every object, in the one order in which they were
// written. A watch through the API server would have gaps where that was restarted, and no order between the kinds.

const (
	botsPrefix    = "/registry/keys.dgbot.io/dgbotchatbots/"
	keysPrefix    = "/registry/keys.dgbot.io/dgbotapikeys/"
	recordsPrefix = "/registry/keys.dgbot.io/dgbotapikeyrecords/"
	secretsPrefix = "/registry/secrets/"
	clockPrefix   = "/registry/configmaps/storm-clock/clock"
)

// change is one write to an object of ours.
type change struct {
	revision int64
	// at is a time before the write: that of the last tick before it.
	at        time.Time
	namespace string
	name      string
	// One of these is set; after a deletion it is the last version.
	bot     *v1alpha1.DGbotChatbot
	key     *v1alpha1.DGbotAPIKey
	record  *v1alpha1.DGbotAPIKeyRecord
	secret  *corev1.Secret
	deleted bool
}

// history is every change between two revisions of etcd.
type history []change

// eachWrite calls visit for all that was written under /registry from one revision to another.
func eachWrite(ctx context.Context, from, to int64, visit func(*clientv3.Event) error) error {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{world.EtcdURL()}, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = etcd.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for answer := range etcd.Watch(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithPrevKV()) {
		if err := answer.Err(); err != nil {
			return fmt.Errorf("reading etcd's history: %w", err)
		}
		for _, event := range answer.Events {
			if event.Kv.ModRevision > to {
				return nil
			}
			if err := visit(event); err != nil {
				return err
			}
			if event.Kv.ModRevision == to {
				return nil
			}
		}
	}
	return errors.New("etcd's history ends early")
}

// forget lets etcd drop what was written before a revision.
func forget(ctx context.Context, revision int64) error {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{world.EtcdURL()}, DialTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = etcd.Close() }()
	if _, err = etcd.Compact(ctx, revision, clientv3.WithCompactPhysical()); err == nil {
		_, err = etcd.Defragment(ctx, world.EtcdURL())
	}
	return err
}

// readHistory reads what happened in some namespaces.
func readHistory(ctx context.Context, namespaces []string, from, to int64) (history, error) {
	var changes history
	var now time.Time
	err := eachWrite(ctx, from, to, func(event *clientv3.Event) error {
		path := string(event.Kv.Key)
		if strings.HasPrefix(path, clockPrefix) {
			tick, err := readTick(event.Kv.Value)
			now = tick
			return err
		}
		c := change{revision: event.Kv.ModRevision, at: now, deleted: event.Type == clientv3.EventTypeDelete}
		value := event.Kv.Value
		if c.deleted {
			value = event.PrevKv.Value
		}
		ours, err := c.decode(path, value)
		if ours && slices.Contains(namespaces, c.namespace) {
			changes = append(changes, c)
		}
		return err
	})
	return changes, err
}

func (c *change) decode(path string, value []byte) (ours bool, err error) {
	var rest string
	switch {
	case strings.HasPrefix(path, keysPrefix):
		rest, c.key = strings.TrimPrefix(path, keysPrefix), &v1alpha1.DGbotAPIKey{}
		err = json.Unmarshal(value, c.key)
	case strings.HasPrefix(path, botsPrefix):
		rest, c.bot = strings.TrimPrefix(path, botsPrefix), &v1alpha1.DGbotChatbot{}
		err = json.Unmarshal(value, c.bot)
	case strings.HasPrefix(path, recordsPrefix):
		rest, c.record = strings.TrimPrefix(path, recordsPrefix), &v1alpha1.DGbotAPIKeyRecord{}
		err = json.Unmarshal(value, c.record)
	case strings.HasPrefix(path, secretsPrefix):
		rest, c.secret = strings.TrimPrefix(path, secretsPrefix), &corev1.Secret{}
		_, _, err = scheme.Codecs.UniversalDeserializer().Decode(value, nil, c.secret)
	default:
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("decoding %s: %w", path, err)
	}
	c.namespace, c.name, _ = strings.Cut(rest, "/")
	return true, nil
}

func readTick(value []byte) (time.Time, error) {
	clock := &corev1.ConfigMap{}
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(value, nil, clock); err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, clock.Data["now"])
}

// story is what happened to one DGbotAPIKey, by uid.
type story struct {
	uid, namespace, name string
	versions             []keyVersion
	gone                 int64 // the revision at which the key was gone; 0 while it is there
	goneAt               time.Time
	// records in the order in which they were created, so that of two with one hash the first is the one that counts.
	records []*recordStory
	secrets []secretVersion
}

// keyVersion is a version of the key, from its revision up to the next one's.
type keyVersion struct {
	from, until int64
	key         *v1alpha1.DGbotAPIKey
}

type recordStory struct {
	created int64
	gone    int64
	goneAt  time.Time
	// first is the record as it was created, versions are the changes after that.
	first    *v1alpha1.DGbotAPIKeyRecord
	versions []recordVersion
	// published is the revision of etcd at which the operator put the key into the Secret; 0 for never.
	published   int64
	publishedAt time.Time
}

type recordVersion struct {
	revision int64
	at       time.Time
	record   *v1alpha1.DGbotAPIKeyRecord
}

// secretVersion is a version of the Secret under the key's name.
type secretVersion struct {
	revision int64
	at       time.Time
	exists   bool
	hash     string
	byUs     bool // by the test, not by the operator
}

const touchedAnnotation = "storm.dgbot.io/touched"

// stories sorts changes by key.
func (h history) stories() []*story {
	var all []*story
	byUID, byName, marks := map[string]*story{}, map[string]*story{}, map[string]string{}
	for _, c := range h {
		place := c.namespace + "/" + c.name
		switch {
		case c.key != nil:
			uid := string(c.key.UID)
			if byUID[uid] == nil {
				byUID[uid] = &story{uid: uid, namespace: c.namespace, name: c.name}
				byName[place] = byUID[uid]
				all = append(all, byUID[uid])
			}
			byUID[uid].addKey(c)
		case c.record != nil:
			if of := byUID[string(c.record.Spec.APIKeyRef.UID)]; of != nil {
				of.addRecord(c)
			}
		case c.secret != nil:
			// By the uid it is labelled with: what a slow manager wrote for a deleted key is no concern of its successor.
			of := byUID[c.secret.Labels[v1alpha1.APIKeyLabel]]
			if of == nil {
				of = byName[place]
			}
			// A mark that stood on the Secret before is not the test's doing now: not even where the Secret was left
			// over from another key.
			mark := c.secret.Annotations[touchedAnnotation]
			byUs := !c.deleted && mark != "" && mark != marks[place]
			if marks[place] = mark; c.deleted {
				delete(marks, place)
			}
			if of != nil {
				of.addSecret(c, byUs)
			}
		}
	}
	for _, s := range all {
		s.markPublished()
	}
	return all
}

func (s *story) addKey(c change) {
	if n := len(s.versions); n > 0 {
		s.versions[n-1].until = c.revision
	}
	if c.deleted {
		s.gone, s.goneAt = c.revision, c.at
		return
	}
	s.versions = append(s.versions, keyVersion{from: c.revision, until: forever, key: c.key})
}

const forever = int64(1) << 62

func (s *story) addRecord(c change) {
	// By uid: a name may be used again after an actor deleted the record.
	at := slices.IndexFunc(s.records, func(r *recordStory) bool { return r.first.UID == c.record.UID })
	if at < 0 {
		at = len(s.records)
		s.records = append(s.records, &recordStory{created: c.revision, first: c.record})
	}
	r := s.records[at]
	if c.deleted {
		r.gone, r.goneAt = c.revision, c.at
		return
	}
	r.versions = append(r.versions, recordVersion{c.revision, c.at, c.record})
}

func (s *story) addSecret(c change, byUs bool) {
	v := secretVersion{revision: c.revision, at: c.at, exists: !c.deleted, byUs: byUs}
	if text, ok := c.secret.Data[v1alpha1.DefaultSecretKey]; ok && v.exists {
		v.hash = apikey.Hash(text)
	}
	s.secrets = append(s.secrets, v)
}

func (s *story) markPublished() {
	before := secretVersion{}
	for _, v := range s.secrets {
		if r := s.recordOf(v.hash); r != nil && v.exists && !v.byUs && v.hash != before.hash && r.published == 0 {
			r.published, r.publishedAt = v.revision, v.at
		}
		before = v
	}
}

func (s *story) recordOf(hash string) *recordStory {
	for _, r := range s.records {
		if hash != "" && r.first.Spec.Hash == hash {
			return r
		}
	}
	return nil
}

// publishedBefore is the last record that was published before a revision; nil where none was.
func (s *story) publishedBefore(revision int64) *recordStory {
	var last *recordStory
	for _, r := range s.records {
		if r.published != 0 && r.published < revision && (last == nil || r.published > last.published) {
			last = r
		}
	}
	return last
}

// at is the record as it was before a revision.
func (r *recordStory) at(revision int64) *v1alpha1.DGbotAPIKeyRecord {
	record := r.first
	for _, v := range r.versions {
		if v.revision < revision {
			record = v.record
		}
	}
	return record
}

// cutOffs are what revokeIssuedBefore says, in spec and in the annotation. The one that is due counts, whatever the other
// has planned for later.
func cutOffs(key *v1alpha1.DGbotAPIKey) []time.Time {
	if key.Spec.Rotation == nil {
		return times(nil, key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation])
	}
	return times(key.Spec.Rotation.RevokeIssuedBefore, key.Annotations[v1alpha1.RevokeIssuedBeforeAnnotation])
}

// requests are the same of requestedAt.
func requests(key *v1alpha1.DGbotAPIKey) []time.Time {
	if key.Spec.Rotation == nil {
		return times(nil, key.Annotations[v1alpha1.RotateRequestedAtAnnotation])
	}
	return times(key.Spec.Rotation.RequestedAt, key.Annotations[v1alpha1.RotateRequestedAtAnnotation])
}

func times(spec *metav1.Time, annotation string) []time.Time {
	var all []time.Time
	if spec != nil {
		all = append(all, spec.Time)
	}
	if at, err := time.Parse(time.RFC3339, annotation); err == nil {
		all = append(all, at)
	}
	return all
}

// covers reports whether one of several cut-offs, due at a time, covers a revision issued then.
func covers(asked []time.Time, issued, now time.Time) bool {
	return slices.ContainsFunc(asked, func(at time.Time) bool { return !at.Before(issued) && !at.After(now) })
}

func overlapOf(key *v1alpha1.DGbotAPIKey) time.Duration { return effective.OverlapOf(&key.Spec) }
