// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
)

// MemoryLimit returns how much memory in bytes this process may take: by GOMEMLIMIT, else by its cgroup. known is false if
// neither sets a limit. Later calls return what the first did.
var MemoryLimit = sync.OnceValues(readMemoryLimit)

// headroom is what is left of the memory limit, in bytes, for what the garbage collector does not count or comes too late for: the program itself
// and the peak above the aim, together about 40 MiB under the attacks of test/attack, and the socket buffers of as many connections as the
// limits accept.
const headroom = 128 << 20

// CollectEarly has the garbage collector aim at the memory limit without headroom, and at half of a small limit; it does nothing if there is no
// limit. Clients that have many requests ended at once make garbage for as long as a collection runs. With an aim of the whole limit, a few
// connections took more than that, and a container would be killed. A pause for such clients was refused: gateways whose own clients give up
// look like them, and requests that wait are given up as well.
func CollectEarly() {
	if bytes, known := MemoryLimit(); known {
		debug.SetMemoryLimit(max(bytes/2, bytes-headroom))
	}
}

func readMemoryLimit() (bytes int64, known bool) {
	if bytes = debug.SetMemoryLimit(-1); bytes < math.MaxInt64 {
		return bytes, true
	}
	// Of cgroup 2, then of cgroup 1, as a container sees them.
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		content, err := os.ReadFile(file) //nolint:gosec // one of the two
		if err != nil {
			continue
		}
		if bytes, known = parseLimit(string(content)); known {
			return bytes, true
		}
	}
	return 0, false
}

// unlimited is less than what cgroup 1 says where it has no limit, and more than any machine has.
const unlimited = 1 << 50

func parseLimit(content string) (bytes int64, known bool) {
	bytes, err := strconv.ParseInt(strings.TrimSpace(content), 10, 64) // "max" is no number
	return bytes, err == nil && bytes > 0 && bytes < unlimited
}
