// SPDX-License-Identifier: Apache-2.0

// Package browser shows pages in a real browser, where there is one.
package browser

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"dgbot.io/key-operator/internal/testenv/process"
)

// ErrMissing is returned by Find if there is none, and by the rules of this machine there need not be one.
var ErrMissing = errors.New("there is no chromium on this machine that starts")

// pageTime bounds how long a page may take.
const pageTime = time.Minute

// Find returns the path of a Chromium that starts. With REQUIRE_CHROMIUM set, which CI does after it has found one, any error is
// another one than ErrMissing.
func Find(ctx context.Context) (string, error) {
	err := ErrMissing
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, lookupErr := exec.LookPath(name)
		if lookupErr != nil {
			continue
		}
		_, startErr := DumpPage(ctx, path, "about:blank")
		if startErr == nil {
			return path, nil
		}
		err = fmt.Errorf("%w: %s", ErrMissing, startErr.Error())
	}
	if os.Getenv("REQUIRE_CHROMIUM") != "" {
		return "", fmt.Errorf("REQUIRE_CHROMIUM is set, and %s", err.Error())
	}
	return "", err
}

// FindOrSkip returns the path of a Chromium that starts, and skips the test where Find allows that there is none.
func FindOrSkip(t testing.TB) string {
	t.Helper()
	path, err := Find(t.Context())
	if errors.Is(err, ErrMissing) {
		t.Skipf("no page is shown in a browser: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// DumpPage returns a page as a browser has it once its scripts have run. The certificate of its server is not checked. The browser is a
// program of the run: it ends with this process.
func DumpPage(ctx context.Context, browser, url string) (string, error) {
	return show(ctx, browser, "--virtual-time-budget=10000", "--dump-dom", url)
}

// Scheme is what a user of the browser prefers: light or dark pages.
type Scheme int

// The two schemes.
const (
	Dark Scheme = iota
	Light
)

// Window is what a page is shown in.
type Window struct {
	// Width and Height are in CSS pixels.
	Width, Height int
	Scheme        Scheme
}

// Picture returns what a window shows of a page once its scripts have run, and writes it to a PNG file.
func (w Window) Picture(ctx context.Context, browser, url, file string) (image.Image, error) {
	_, err := show(ctx, browser, "--virtual-time-budget=2000", "--screenshot="+file, fmt.Sprintf("--window-size=%d,%d", w.Width, w.Height), "--hide-scrollbars",
		fmt.Sprintf("--blink-settings=preferredColorScheme=%d", w.Scheme), url)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return png.Decode(bytes.NewReader(content))
}

// show runs a browser without a window, and returns what it prints.
func show(ctx context.Context, browser string, arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	r, err := process.CurrentRun()
	if err != nil {
		return "", err
	}
	profile, err := process.TempDir("browser")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(profile) }()
	name := filepath.Base(profile)
	defer func() { _ = os.Remove(r.ProcessFile(name)) }()
	command := r.Command(name, browser, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--ignore-certificate-errors",
		"--user-data-dir=" + profile,
	}, arguments...)...)
	var page, complaints bytes.Buffer
	command.Stdout, command.Stderr = &page, &complaints
	if err := command.Start(); err != nil {
		return "", fmt.Errorf("%s: %w", browser, err)
	}
	// The browser's own processes are in its group.
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
	defer stop()
	if err := command.Wait(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", browser, cmp.Or(ctx.Err(), err), complaints.String())
	}
	return page.String(), nil
}
