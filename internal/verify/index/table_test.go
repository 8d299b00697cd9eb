// SPDX-License-Identifier: Apache-2.0

package index

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestTable_BehavesAsAMap changes a table and a Go map at random, with few IDs, so that they collide and return.
func TestTable_BehavesAsAMap(t *testing.T) {
	for _, ids := range []int{3, 40, 700} {
		var table table
		reference := map[keyID]*Entry{}
		for turn := range 60_000 {
			var id keyID
			copy(id[:], fmt.Sprintf("%012d", rand.IntN(ids)))
			switch {
			// It grows for a while and then shrinks.
			case rand.IntN(10) < 3+turn/15_000:
				table.remove(id)
				delete(reference, id)
			default:
				e := &Entry{id: id}
				table.set(e)
				reference[id] = e
			}
			if got := table.get(id, hashOf(id)); got != reference[id] {
				t.Fatalf("turn %d: %s is %p, want %p", turn, id, got, reference[id])
			}
			if turn%100 == 0 {
				compareTables(t, &table, reference)
			}
		}
		for id := range reference {
			table.remove(id)
		}
		if table.taken != 0 || len(table.slots) > leastSlots {
			t.Errorf("%d entries in %d slots remain", table.taken, len(table.slots))
		}
	}
}

func compareTables(t *testing.T, table *table, reference map[keyID]*Entry) {
	t.Helper()
	seen := 0
	for e := range table.all {
		seen++
		if reference[e.id] != e {
			t.Fatalf("%s is in the table, and should not be", e.id)
		}
	}
	for id, e := range reference {
		if table.get(id, hashOf(id)) != e {
			t.Fatalf("%s is not found", id)
		}
	}
	if seen != len(reference) || table.taken != seen {
		t.Fatalf("%d entries, counted as %d, want %d", seen, table.taken, len(reference))
	}
}
