// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// ticks is how many there are to a second in /proc/PID/stat: on every Linux that Go runs on.
const ticks = 100

// ProcessorSeconds is the processor time that a process has had, in seconds.
func ProcessorSeconds(number int) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", number))
	if err != nil {
		return 0, err
	}
	// The program's name, in brackets, may hold spaces.
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	const user, system = 11, 12
	total := 0.0
	for _, field := range []int{user, system} {
		n, err := strconv.ParseFloat(fields[field], 64)
		if err != nil {
			return 0, err
		}
		total += n / ticks
	}
	return total, nil
}

// ResidentMiB is the memory that a process occupies.
func ResidentMiB(number int) (float64, error) { return memoryMiB(number, "VmRSS:") }

// MostResidentMiB is the most memory that a process has occupied since it was started.
func MostResidentMiB(number int) (float64, error) { return memoryMiB(number, "VmHWM:") }

func memoryMiB(number int, field string) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", number))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d says nothing of its memory", number)
}

// IsRunning reports whether a process exists and has not ended: a container's first process may never collect zombies.
func IsRunning(number int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(number)).Output()
	state := strings.TrimSpace(string(out))
	return err == nil && state != "" && !strings.HasPrefix(state, "Z")
}
