// SPDX-License-Identifier: Apache-2.0

// Package scratch makes temporary folders, and says which folder and variable to change where there is no space.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Variable names the folder for temporary files.
const Variable = "TMPDIR"

const mebibyte = 1 << 20

// Folder makes a temporary folder.
func Folder(pattern string) (string, error) {
	folder, err := os.MkdirTemp("", pattern)
	return folder, Explain(err)
}

// Require fails if the folder for temporary files has less free space than so many bytes. Where the space is unknown it returns nil.
func Require(bytes uint64) error {
	folder := os.TempDir()
	available, err := free(folder)
	if err != nil {
		return fmt.Errorf("temporary folder %s: %w; set %s to a folder that exists", folder, err, Variable)
	}
	if available < bytes {
		return fmt.Errorf("temporary folder %s has %d MiB free and %d MiB are needed; set %s to a folder with more space",
			folder, available/mebibyte, bytes/mebibyte, Variable)
	}
	return nil
}

// Explain adds the folder for temporary files to an error that it causes. It also looks at the text, since a compiler reports a full
// disk only in what it prints.
func Explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "no space left on device"):
		return fmt.Errorf("%w; temporary files are in %s: set %s to a folder with more space", err, os.TempDir(), Variable)
	case errors.Is(err, os.ErrNotExist) && !exists(os.TempDir()):
		return fmt.Errorf("%w; there is no folder %s: set %s to one that exists", err, os.TempDir(), Variable)
	}
	return err
}

func exists(folder string) bool {
	_, err := os.Stat(folder)
	return err == nil
}
