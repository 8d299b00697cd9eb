// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestAccount_TakesBeyondItsAllowanceOnly(t *testing.T) {
	b := NewBudget(100)
	a := b.NewAccount(50)
	for _, step := range []struct{ take, give, free int }{{take: 50, free: 100}, {take: 30, free: 70}, {give: 40, free: 100}, {take: 110, free: 0}, {give: 150, free: 100}} {
		if err := a.Take(step.take, 0); err != nil {
			t.Fatal(err)
		}
		a.Give(step.give)
		if b.Free() != step.free {
			t.Errorf("after %+v: %d free", step, b.Free())
		}
	}
	a.Close()
	a.Give(10)
	if err := a.Take(1, time.Hour); !errors.Is(err, ErrExhausted) || b.Free() != 100 {
		t.Errorf("after the end: %v, %d free", err, b.Free())
	}
}

func TestAccount_WaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100)
		greedy, large, small, frugal := b.NewAccount(10), b.NewAccount(0), b.NewAccount(0), b.NewAccount(10)
		if err := greedy.Take(110, 0); err != nil {
			t.Fatal(err)
		}
		served := make(chan string, 2)
		for _, waiting := range []struct {
			name    string
			account *Account
			bytes   int
		}{{"large", large, 80}, {"small", small, 1}} {
			go func() {
				if waiting.account.Take(waiting.bytes, time.Minute) == nil {
					served <- waiting.name
				}
			}()
			synctest.Wait()
		}
		// What the allowance covers does not wait.
		if err := frugal.Take(10, 0); err != nil {
			t.Fatal(err)
		}
		greedy.Give(50)
		synctest.Wait()
		if len(served) != 0 {
			t.Errorf("%s before there is enough for the first", <-served)
		}
		greedy.Reset()
		synctest.Wait()
		if len(served) != 2 || b.Free() != 19 {
			t.Errorf("served %d, %d free", len(served), b.Free())
		}
	})
}

func TestAccount_EndsAWait(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(*Account)
		want error
	}{
		"too late":                      {func(*Account) { time.Sleep(2 * time.Second) }, ErrExhausted},
		"closed":                        {func(a *Account) { a.Close() }, ErrExhausted},
		"its own stream ended":          {func(a *Account) { a.Give(5) }, nil},
		"too little of its own is back": {func(a *Account) { a.Give(1); time.Sleep(2 * time.Second) }, ErrExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBudget(0)
				a := b.NewAccount(10)
				if err := a.Take(10, 0); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- a.Take(5, time.Second) }()
				synctest.Wait()
				tc.end(a)
				if err := <-ended; !errors.Is(err, tc.want) {
					t.Errorf("%v, want %v", err, tc.want)
				}
				if b.waiting.Len() != 0 {
					t.Error("it still waits")
				}
			})
		})
	}
}

func TestParseLimit(t *testing.T) {
	for content, want := range map[string]int64{"268435456\n": 268435456, "max\n": 0, "9223372036854771712\n": 0, "": 0, "-1": 0} {
		if got, known := parseLimit(content); known != (want > 0) || known && got != want {
			t.Errorf("%q: %d, %t", content, got, known)
		}
	}
}
