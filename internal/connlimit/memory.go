// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// MemoryLimit returns how much memory in bytes this process may take: by GOMEMLIMIT, else by its cgroup. known is false if
// neither sets a limit.
func MemoryLimit() (bytes int64, known bool) {
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
