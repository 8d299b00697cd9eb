// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStep_ReportsWhileItWorks(t *testing.T) {
	for _, want := range []error{nil, errors.New("disk full")} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			got := step(&out, "building for linux/arm64", 10*time.Second, func() error {
				time.Sleep(25 * time.Second)
				return want
			})
			if !errors.Is(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			outcome := map[bool]string{true: "done", false: "failed"}[want == nil]
			lines := "building for linux/arm64 ...\nbuilding for linux/arm64 ... 10s\nbuilding for linux/arm64 ... 20s\nbuilding for linux/arm64: " + outcome + " in 25s\n"
			if out.String() != lines {
				t.Errorf("it reports\n%swant\n%s", strings.TrimSpace(out.String()), lines)
			}
		})
	}
}
