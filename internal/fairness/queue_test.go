// SPDX-License-Identifier: Apache-2.0

package fairness

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// namespaceOf is the group of an item such as "tenant/key".
func namespaceOf(item string) string {
	namespace, _, _ := strings.Cut(item, "/")
	return namespace
}

// drain pops items until the queue is empty.
func drain(q *Queue[string]) []string {
	var order []string
	for q.Len() > 0 {
		order = append(order, q.Pop())
	}
	return order
}

func TestQueue_GroupsTakeTurns(t *testing.T) {
	q := New(namespaceOf, func(string) bool { return false })
	for i := range 3 {
		q.Push(fmt.Sprintf("bulk/%d", i))
	}
	for _, item := range []string{"small/0", "other/0", "small/1"} {
		q.Push(item)
	}
	want := []string{"bulk/0", "small/0", "other/0", "bulk/1", "small/1", "bulk/2"}
	if order := drain(q); !slices.Equal(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
}

func TestQueue_ALateGroupWaitsForOneTurnOfTheOthers(t *testing.T) {
	q := New(namespaceOf, func(string) bool { return false })
	for i := range 3000 {
		q.Push(fmt.Sprintf("bulk/%d", i))
	}
	for range 100 {
		q.Pop()
	}
	q.Push("late/0")
	if position := slices.Index(drain(q), "late/0"); position > 1 {
		t.Errorf("the first item of another group comes after %d others", position)
	}
}

func TestQueue_UrgentItemsGoFirst(t *testing.T) {
	urgent := map[string]bool{"bulk/7": true, "small/1": true}
	q := New(namespaceOf, func(item string) bool { return urgent[item] })
	for i := range 10 {
		q.Push(fmt.Sprintf("bulk/%d", i))
	}
	q.Push("small/1")
	urgent["bulk/3"] = true
	q.Touch("bulk/3")
	urgent["bulk/7"] = false
	q.Touch("bulk/7")
	q.Touch("small/9") // does not wait
	if q.Len() != 11 {
		t.Fatalf("%d items wait", q.Len())
	}
	want := []string{"bulk/7", "small/1", "bulk/3", "bulk/0", "bulk/1", "bulk/2", "bulk/4", "bulk/5", "bulk/6", "bulk/8", "bulk/9"}
	if order := drain(q); !slices.Equal(order, want) {
		t.Errorf("the order is %v, want %v", order, want)
	}
}

// TestQueue_UrgentItemsStopNothing: where urgent items come without end, ordinary ones are taken all the same.
func TestQueue_UrgentItemsStopNothing(t *testing.T) {
	q := New(namespaceOf, func(item string) bool { return strings.HasPrefix(item, "hostile/") })
	q.Push("hostile/0")
	q.Push("honest/0")
	for i := 1; i <= maxUrgentInARow+1; i++ {
		item := q.Pop()
		if item == "honest/0" {
			return
		}
		q.Push(fmt.Sprintf("hostile/%d", i))
	}
	t.Errorf("%d urgent items were taken in a row", maxUrgentInARow+1)
}

// TestQueue_LosesNothing compares random use with a set.
func TestQueue_LosesNothing(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		urgent := map[string]bool{}
		q := New(namespaceOf, func(item string) bool { return urgent[item] })
		waiting := map[string]bool{}
		for range 500 {
			item := fmt.Sprintf("%d/%d", random.IntN(4), random.IntN(20))
			urgent[item] = random.IntN(3) == 0
			switch {
			case random.IntN(3) == 0 && len(waiting) > 0:
				popped := q.Pop()
				if !waiting[popped] {
					t.Fatalf("seed %d: %s did not wait", seed, popped)
				}
				delete(waiting, popped)
			case waiting[item]:
				q.Touch(item)
			default:
				q.Push(item)
				waiting[item] = true
			}
			if q.Len() != len(waiting) {
				t.Fatalf("seed %d: %d items wait, want %d", seed, q.Len(), len(waiting))
			}
		}
		for _, item := range drain(q) {
			delete(waiting, item)
		}
		if len(waiting) > 0 {
			t.Fatalf("seed %d: lost %v", seed, waiting)
		}
		for i := range q.lanes {
			if !q.lanes[i].empty() || len(q.lanes[i].groups) > 0 {
				t.Fatalf("seed %d: an empty queue remembers %v", seed, q.lanes[i].groups)
			}
		}
	}
}
