// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"dgbot.io/key-operator/internal/apikey"
)

// identification is what a key says of itself, without a cluster.
type identification struct {
	// Key is the public part of it.
	Key         string `json:"key"`
	Environment string `json:"environment"`
	KeyID       string `json:"keyID"`
	Hash        string `json:"hash"`
}

func newIdentify(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "identify",
		Short: "Say what a key on standard input is, without a cluster",
		Long: `Reads one key from standard input, and says of which environment it is, and its ID, by which it is found in a cluster:

    kubectl dgbot identify <key.txt
    kubectl get dgrec -A --field-selector spec.keyID=ID

That form and checksum are right says nothing about whether the key is good.`,
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) > 0 {
				return usage("a key does not belong on the command line, where others can see it: give it on standard input")
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			if output != "" && output != "json" {
				return usage("--output is %q: want json", output)
			}
			text, err := readKey(s.streams.In)
			if err != nil {
				return err
			}
			key, err := apikey.Parse(text)
			if err != nil {
				return no("this is %w", err)
			}
			it := identification{key.Masked(), key.Environment(), key.ID(), key.Hash()}
			if output == "json" {
				text, err := json.MarshalIndent(it, "", "    ")
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(s.streams.Out, string(text))
				return err
			}
			_, err = fmt.Fprintf(s.streams.Out, "%s is a key of environment %q with the ID %s.\nIn a cluster: kubectl get dgrec -A --field-selector spec.keyID=%s\n", it.Key, it.Environment, it.KeyID, it.KeyID)
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json, for the same in a form for programs")
	return c
}

// readKey reads one line. What is much longer is no key, and is not read to its end.
func readKey(in io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, int64(4*apikey.MaxLength)))
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return "", usage("there is nothing on standard input: kubectl dgbot identify <FILE")
	}
	return string(text), nil
}
