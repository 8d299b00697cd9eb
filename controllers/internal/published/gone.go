// SPDX-License-Identifier: Apache-2.0

package published

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxGone bounds how many owners that are gone are remembered.
const maxGone = 4096

// goneOwner is an owner that was not found where an object said that it is. Both are remembered: an object that names a wrong place
// must not make another object's owner count as gone.
type goneOwner struct {
	uid types.UID
	at  string
}

// GoneOwners remembers owners that no longer exist. The API server gives no uid twice, so one that is gone stays gone: the objects that many
// keys name, and that an owner once had, cost one look. The zero value is ready to use, and safe for concurrent use.
type GoneOwners struct {
	mutex sync.Mutex
	gone  map[goneOwner]bool
}

func (g *GoneOwners) has(owner goneOwner) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.gone[owner]
}

func (g *GoneOwners) add(owner goneOwner) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.gone == nil || len(g.gone) >= maxGone {
		g.gone = map[goneOwner]bool{}
	}
	g.gone[owner] = true
}
