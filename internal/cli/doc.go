// SPDX-License-Identifier: Apache-2.0

// Package cli is kubectl dgbot: what people do with keys, as one command each. It has no rights of its own and asks for nothing that
// could not be done with kubectl: it patches annotations and spec.state with the rights of the user, and reads statuses.
//
// No command takes a key as an argument, where it would stand in the shell's history and in the list of processes: keys come on
// standard input.
package cli
