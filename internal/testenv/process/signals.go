// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/signal"
	"syscall"
)

// StopSignals returns the signals by which users stop a program. SIGHUP, which a closed terminal sends, is missing where it is
// ignored, as with nohup: Notify would take it all the same.
func StopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
