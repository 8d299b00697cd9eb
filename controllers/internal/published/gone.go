// SPDX-License-Identifier: Apache-2.0

package published

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// maxGone bounds the number of remembered owners that do not exist.
const maxGone = 4096

// goneOwner is an owner that does not exist at the place that an object names. Both are remembered: an object that names a wrong place
// must not make the owner of another object count as missing.
type goneOwner struct {
	uid types.UID
	at  string
}

// GoneOwners remembers owners that no longer exist. The API server gives no uid twice, so a deleted owner never comes back. Objects that
// many keys name, and that once had an owner, therefore cost one read. The zero value is ready to use, and safe for concurrent use.
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
