// SPDX-License-Identifier: Apache-2.0

package index

import (
	"testing"
	"unsafe"
)

func TestEntry_FillsASizeClass(t *testing.T) {
	if size := unsafe.Sizeof(Entry{}); size != 128 {
		t.Errorf("an entry takes %d bytes; the next sizes that Go hands out are 112, 128 and 144", size)
	}
}
