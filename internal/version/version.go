// SPDX-License-Identifier: Apache-2.0

// Package version holds the version of the programs of this module.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// value is the version of a release. Its build sets it:
//
//	go build -ldflags='-X dgbot.io/key-operator/internal/version.value=v1.2.3'
var value string

// Info describes a program.
type Info struct {
	// Version is that of the release, else the one that the Go command has derived from Git, else "devel".
	Version string `json:"version"`
	// Commit is the Git commit that it was built from, with "+dirty" if the checkout had other changes; empty if that is not known.
	Commit    string `json:"commit,omitempty"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

// Get returns the version of the running program.
func Get() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	return infoOf(value, build)
}

func infoOf(release string, build *debug.BuildInfo) Info {
	i := Info{Version: release, GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if i.Version == "" && build.Main.Version != "(devel)" {
		i.Version = build.Main.Version
	}
	if i.Version == "" {
		i.Version = "devel"
	}
	dirty := false
	for _, setting := range build.Settings {
		switch setting.Key {
		case "vcs.revision":
			i.Commit = setting.Value
		case "vcs.modified":
			dirty = setting.Value == "true"
		}
	}
	if i.Commit != "" && dirty {
		i.Commit += "+dirty"
	}
	return i
}

// String returns the version in one line.
func (i Info) String() string {
	if i.Commit == "" {
		return fmt.Sprintf("%s (%s, %s)", i.Version, i.GoVersion, i.Platform)
	}
	return fmt.Sprintf("%s (commit %s, %s, %s)", i.Version, i.Commit, i.GoVersion, i.Platform)
}
