// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package scratch

import "syscall"

// free returns how many bytes an ordinary user can write to the file system of a folder.
func free(folder string) (uint64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil {
		return 0, err
	}
	return stat.Bavail * uint64(stat.Bsize), nil //nolint:gosec // a block's size is positive
}
