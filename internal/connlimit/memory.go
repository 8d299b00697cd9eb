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

// CollectEarly has the garbage collector aim at half of the memory limit; it does nothing if there is no limit. Clients that have many requests
// ended at once make garbage for as long as a collection runs, so that the peak lies far above the aim: with an aim of the whole limit, a few
// connections took all of it, and a container would be killed. A pause for such clients was refused: gateways whose own clients give up look
// like them, and requests that wait are given up as well. The collector never takes more than half of the processor time.
func CollectEarly() {
	if bytes, known := MemoryLimit(); known {
		debug.SetMemoryLimit(bytes / 2)
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
