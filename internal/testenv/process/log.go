// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"sync"
)

// Log takes what several processes print, and can be read meanwhile.
type Log struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.buffer.Write(p)
}

// String is all that was printed.
func (l *Log) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.buffer.String()
}
