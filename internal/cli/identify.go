// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"dgbot.io/key-operator/internal/apikey"
)

// lookupTime bounds how long a cluster is waited for that only adds to an answer.
const lookupTime = 10 * time.Second

// identification is what a key says of itself, and what a cluster says of it.
type identification struct {
	// Key is the public part of it.
	Key         string `json:"key"`
	Environment string `json:"environment"`
	KeyID       string `json:"keyID"`
	Hash        string `json:"hash"`
	// Asked says whether a cluster was asked, and Where is how much of it.
	Asked bool   `json:"clusterAsked"`
	Where string `json:"where,omitempty"`
	// Holder is left out where no record knows the key.
	Holder *holder `json:"holder,omitempty"`
}

func newIdentify(s *session) *cobra.Command {
	var output string
	var offline bool
	c := &cobra.Command{
		Use:   "identify",
		Short: "Say what a key on standard input is, and whose",
		Long: `Reads one key from standard input, and says of which environment it is, and its ID. Where a cluster can be asked, also whose it is
and whether it is good: in the whole cluster, or in the namespace where you may not list records everywhere.

    kubectl dgbot identify <key.txt

That form and checksum are right says nothing about whether the key is good.`,
		Args: noKeys,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output, []string{"", "json", "yaml"}); err != nil {
				return err
			}
			key, err := readKey(s.streams.In, c.CommandPath())
			if err != nil {
				return err
			}
			it := identification{Key: key.Masked(), Environment: key.Environment(), KeyID: key.ID(), Hash: key.Hash()}
			if !offline {
				lookUp(c.Context(), s, key, &it)
			}
			if output != "" {
				return printValue(s.streams.Out, output, it)
			}
			err = writef(s.streams.Out, "%s is a key of environment %q with the ID %s.\n%s.\n", it.Key, it.Environment, it.KeyID, it.standing(s.clock.Now()))
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json or yaml, for the same in a form for programs")
	c.Flags().BoolVar(&offline, "offline", false, "Do not ask the cluster")
	return c
}

// noKeys refuses arguments of verbs that take a key from standard input.
func noKeys(_ *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return usage("a key does not belong on the command line, where others can see it: give it on standard input")
	}
	return nil
}

// lookUp adds what the cluster says to it. If the cluster does not answer, lookUp notes that on standard error.
func lookUp(ctx context.Context, s *session, key apikey.Key, it *identification) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	err := func() error {
		cluster, err := s.connect()
		if err != nil {
			return err
		}
		f, err := newFinder(ctx, cluster)
		if err != nil {
			return err
		}
		it.Holder, err = f.find(ctx, key)
		it.Asked, it.Where = err == nil, f.where()
		return err
	}()
	if err != nil {
		_ = writef(s.streams.ErrOut, "note: no cluster was asked whose it is: %s\n", explain(err))
	}
}

// standing describes the record of the key.
func (it *identification) standing(now time.Time) string {
	switch {
	case it.Holder != nil:
		return "It is " + it.Holder.sentence(now)
	case it.Asked:
		return "No record knows it " + it.Where + ": it verifies nowhere that watches what was looked at"
	}
	return "In a cluster: " + shellCommand("kubectl", "get", "dgrec", "-A", "--field-selector", "spec.keyID="+it.KeyID)
}

// longestInput is how much is read where one key is expected: what is longer is for scan.
const longestInput = 64 << 10

// readKey reads one key, alone or in a text such as a line of a log.
func readKey(in io.Reader, command string) (apikey.Key, error) {
	text, err := io.ReadAll(io.LimitReader(in, longestInput))
	if err != nil {
		return apikey.Key{}, fmt.Errorf("reading standard input: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return apikey.Key{}, usage("there is nothing on standard input: %s <FILE", command)
	}
	found := map[string]apikey.Key{}
	if _, err := search(bytes.NewReader(text), func(m match) { found[m.key.Hash()] = m.key }); err != nil {
		return apikey.Key{}, err
	}
	switch len(found) {
	case 0:
		_, err := apikey.Parse(string(bytes.TrimSpace(text)))
		return apikey.Key{}, no("this is %w, and there is none in it", err)
	case 1:
		for _, key := range found {
			return key, nil
		}
	}
	return apikey.Key{}, no("there are %d keys in this: give one, or let 'kubectl dgbot scan -' say which are live", len(found))
}
