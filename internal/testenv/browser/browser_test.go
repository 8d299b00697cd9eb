// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/testenv/process"
)

// fakeBrowser writes a script in the place of a browser.
func fakeBrowser(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "browser")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDumpPage_StartsAProgramOfTheRun, so that the cleanup process ends it, and leaves no file of it.
func TestDumpPage_StartsAProgramOfTheRun(t *testing.T) {
	r, err := process.CurrentRun()
	if err != nil {
		t.Fatal(err)
	}
	page, err := DumpPage(t.Context(), fakeBrowser(t, `echo "$@"; cat "`+r.ProcessFile("browser-")+`"*; echo " is $$"`), "about:blank")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(page), "\n")
	number := lines[len(lines)-2]
	if !strings.Contains(page, "--user-data-dir="+r.Folder()+"/browser-") || !strings.HasSuffix(page, "is "+number+"\n") {
		t.Errorf("the browser is no program of %s: %s", r.Folder(), page)
	}
	left, err := filepath.Glob(filepath.Join(r.Folder(), "*", "browser-*"))
	profiles, profilesErr := filepath.Glob(filepath.Join(r.Folder(), "browser-*"))
	if err := errors.Join(err, profilesErr); err != nil || len(left)+len(profiles) > 0 {
		t.Errorf("%v are left, %v", append(left, profiles...), err)
	}
	// At the deadline the browser ends with the processes that it has started.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := DumpPage(ctx, fakeBrowser(t, "sleep 1000 & wait"), "about:blank"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a browser that does not end: %v", err)
	}
}
