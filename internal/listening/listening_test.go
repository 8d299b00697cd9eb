// SPDX-License-Identifier: Apache-2.0

package listening_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/listening"
)

func TestExplain_NamesFlagAddressAndRemedy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for address, want := range map[string]string{
		taken.Addr().String(): "address already in use; stop the process that uses this port, or name another port",
		"192.0.2.1:8080":      "this machine does not have that address",
		"8080":                "missing port in address; want <host>:<port>",
		":http-alternative":   "want <host>:<port>",
	} {
		_, failed := net.Listen("tcp", address)
		// As controller-runtime wraps it.
		got := listening.Explain("metrics-bind-address", address, fmt.Errorf("failed to start metrics server: %w", failed))
		if got == nil || !strings.HasPrefix(got.Error(), "--metrics-bind-address "+address+": ") || !strings.Contains(got.Error(), want) {
			t.Errorf("%v, want %s", got, want)
		}
		if !errors.Is(got, failed) {
			t.Errorf("the cause is lost: %v", got)
		}
	}
}

func TestExplain_LeavesOtherErrorsAlone(t *testing.T) {
	_, dialed := net.Dial("tcp", "127.0.0.1:1")
	for _, err := range []error{nil, errors.New("leader election lost"), dialed} {
		if got := listening.Explain("metrics-bind-address", ":8443", err); !errors.Is(got, err) || (err != nil && got.Error() != err.Error()) {
			t.Errorf("%v became %v", err, got)
		}
	}
}
