// SPDX-License-Identifier: Apache-2.0

package index

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/revisions"
	"dgbot.io/key-operator/internal/verify/verifytest"
)

// BenchmarkVerify measures a verification with a number of records, as a multiple of the one SHA-256 that it needs, and the memory
// of a record: go test -run=none -bench=Verify ./internal/verify/index
func BenchmarkVerify(b *testing.B) {
	for _, records := range []int{1, 1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			before := heap()
			x, texts := filled(b, records)
			held := heap() - before
			b.Run("good", func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					if e, _ := x.check(texts[i%len(texts)], verifytest.Epoch); e == nil {
						b.Fatal("a good key is refused")
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/hashing(texts), "x-sha256")
				b.ReportMetric(float64(held)/float64(records), "B/record")
			})
			b.Run("junk", func(b *testing.B) {
				b.ReportAllocs()
				junk := texts[0][:len(texts[0])-1] + "~"
				for range b.N {
					if e, _ := x.check(junk, verifytest.Epoch); e != nil {
						b.Fatal("junk is taken for a key")
					}
				}
			})
		})
	}
}

// BenchmarkRefusal measures each rejection of a text with the form of a key: its duration must not tell the reason.
func BenchmarkRefusal(b *testing.B) {
	x, texts := filled(b, 1_000)
	end := metav1.Time{Time: verifytest.Epoch}
	refused := map[Reason]func(*v1alpha1.DGbotAPIKeyRecord){
		Unknown: nil, Wrong: nil,
		Orphaned: func(r *v1alpha1.DGbotAPIKeyRecord) { r.OwnerReferences = nil },
		Revoked:  func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateRevoked },
		Disabled: func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.State = v1alpha1.StateDisabled },
		Expired:  func(r *v1alpha1.DGbotAPIKeyRecord) { r.Spec.NotAfter = &end },
	}
	for reason, change := range refused {
		keys := make([]string, len(texts))
		for i := range keys {
			key := verifytest.Mint(b)
			keys[i] = strings.Clone(key.Reveal())
			record := verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) { r.UID = types.UID(fmt.Sprintf("%s-%d", reason, i)) }, change)
			if reason == Wrong {
				record.Spec.Hash = verifytest.Mint(b).Hash()
			}
			if reason != Unknown {
				if err := x.Put(record, 0, 1); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(string(reason), func(b *testing.B) {
			for i := range b.N {
				if _, why := x.check(keys[i%len(keys)], verifytest.Epoch); why != reason {
					b.Fatalf("refused as %q", why)
				}
			}
		})
	}
}

// filled returns an index with a number of records, and the texts of up to 1,000 of their keys in random order.
func filled(b *testing.B, records int) (x *Keys, texts []string) {
	b.Helper()
	x = &Keys{}
	for i := range records {
		key := verifytest.Mint(b)
		record := verifytest.Record(key, func(r *v1alpha1.DGbotAPIKeyRecord) {
			name := fmt.Sprintf("service-%d", i)
			r.UID = types.UID(fmt.Sprintf("%08x-2610-41ab-a832-%012x", i, i))
			keyUID := types.UID(fmt.Sprintf("%08x-4b5a-4678-8796-%012x", i, i))
			r.Namespace, r.Name = fmt.Sprintf("team-%d", i%100), revisions.RecordName(name, keyUID, r.Spec.Revision)
			r.Spec.APIKeyRef.UID, r.OwnerReferences[0].UID = keyUID, keyUID
			r.Spec.APIKeyRef.Name, r.OwnerReferences[0].Name, r.Spec.Label = name, name, fmt.Sprintf("Service %d", i)
		})
		if err := x.Put(record, 0, 1); err != nil {
			b.Fatal(err)
		}
		if records <= 1_000 || i%(records/1_000) == 0 {
			texts = append(texts, strings.Clone(key.Reveal()))
		}
	}
	rand.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	return x, texts
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// hashing returns the nanoseconds that a SHA-256 of a key takes, in this run on this machine.
func hashing(texts []string) float64 {
	const times = 1_000_000
	read := make([][]byte, len(texts))
	for i, text := range texts {
		read[i] = []byte(text)
	}
	began := time.Now()
	for i := range times {
		_ = sha256.Sum256(read[i%len(read)])
	}
	return float64(time.Since(began).Nanoseconds()) / times
}
