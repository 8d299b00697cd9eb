// SPDX-License-Identifier: Apache-2.0

package exit

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
)

func TestReport_ReturnsTheCode(t *testing.T) {
	for want, err := range map[int]error{0: nil, CodeFailed: errors.New("refused"), CodeUsage: Usage("say which"), CodeNo: No("not in time")} {
		var said bytes.Buffer
		if got := Report(&said, err); got != want || (err != nil) != (said.Len() > 0) {
			t.Errorf("%v: code %d, %q", err, got, said.String())
		}
	}
	var said bytes.Buffer
	if got := Report(&said, &exitError{CodeFailed, syscall.EPIPE}); got != CodeFailed || said.Len() > 0 {
		t.Errorf("a reader that has had enough: code %d, %q", got, said.String())
	}
}
