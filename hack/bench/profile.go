// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// profiled is how long the API server's processor profile lasts: less than two processors need for 1,000 keys.
const profiled = 20 * time.Second

// profile has the API server profile itself while something is measured, where profiles are asked for. The returned
// function waits for the end of it. Both sides are profiled alike, so that their ratio stays what it is.
func (w *measurement) profile(ctx context.Context, what string) (done func() error) {
	if w.profiles == "" {
		return func() error { return nil }
	}
	ended := make(chan error, 1)
	go func() {
		content, err := w.raw.RESTClient().Get().AbsPath("/debug/pprof/profile").
			Param("seconds", strconv.Itoa(int(profiled.Seconds()))).DoRaw(ctx)
		if err == nil {
			name := strings.NewReplacer(", ", "-", " ", "-").Replace(what) + ".pb.gz"
			err = os.WriteFile(filepath.Join(w.profiles, name), content, 0o600)
		}
		ended <- err
	}()
	return func() error { return <-ended }
}
