// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"bytes"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/search"
)

// NoArguments returns a usage error for arguments of a verb that reads a key from standard input: an argument is visible to other users of
// the machine.
func NoArguments(_ *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return exit.Usage("a key does not belong on the command line, where others can see it: give it on standard input")
	}
	return nil
}

// longestInput is how much is read where one key is expected: what is longer is for scan.
const longestInput = 64 << 10

// ReadKey reads one key, alone or in a text such as a line of a log, of at most longestInput bytes. command is shown where in is empty. It
// returns an error with exit.CodeNo for no key or several.
func ReadKey(in io.Reader, command string) (apikey.Key, error) {
	text, err := io.ReadAll(io.LimitReader(in, longestInput))
	if err != nil {
		return apikey.Key{}, fmt.Errorf("reading standard input: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return apikey.Key{}, exit.Usage("there is nothing on standard input: %s <FILE", command)
	}
	found := map[string]apikey.Key{}
	if _, err := search.Keys(bytes.NewReader(text), func(m search.Match) { found[m.Key.Hash()] = m.Key }); err != nil {
		return apikey.Key{}, err
	}
	switch len(found) {
	case 0:
		_, err := apikey.Parse(string(bytes.TrimSpace(text)))
		return apikey.Key{}, exit.No("this is %w, and there is none in it", err)
	case 1:
		for _, key := range found {
			return key, nil
		}
	}
	return apikey.Key{}, exit.No("there are %d keys in this: give one, or let 'kubectl dgbot scan -' say which are live", len(found))
}
