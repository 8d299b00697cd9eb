// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"flag"
	"testing"
)

// ShortSizes parses the flags of a suite. With -short it gives each flag its size in sizes, unless the caller of the suite set the flag. It
// panics for a flag that does not exist. TestMain calls it.
func ShortSizes(sizes map[string]string) {
	flag.Parse()
	if !testing.Short() {
		return
	}
	isSet := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { isSet[f.Name] = true })
	for name, size := range sizes {
		if isSet[name] {
			continue
		}
		if err := flag.Set(name, size); err != nil {
			panic(err)
		}
	}
}
