// SPDX-License-Identifier: Apache-2.0

// Package cli is kubectl dgbot. It puts the verbs together, each of which is in a package of its own; version is here. It has no rights of its
// own and does nothing that a user could not do with kubectl: it patches annotations and spec.state with the rights of the user, and reads
// statuses.
//
// No command takes a key as an argument, which the shell's history and the list of processes would show: keys come on standard input.
package cli
