// SPDX-License-Identifier: Apache-2.0

package main

// The image has no time zones of its own, and the windows of environments are in any.
import _ "time/tzdata"
