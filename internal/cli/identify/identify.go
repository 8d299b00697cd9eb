// SPDX-License-Identifier: Apache-2.0

// Package identify has the verb identify, which names the DGbotAPIKey of a key text.
package identify

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/flags"
	"dgbot.io/key-operator/internal/cli/lookup"
	"dgbot.io/key-operator/internal/cli/session"
)

// identification is what a key says of itself, and what a cluster says of it.
type identification struct {
	// Key is the public part of it.
	Key         string `json:"key"`
	Environment string `json:"environment"`
	KeyID       string `json:"keyID"`
	Hash        string `json:"hash"`
	// Asked reports whether a cluster was asked, and Where is how much of it.
	Asked bool   `json:"clusterAsked"`
	Where string `json:"where,omitempty"`
	// Holder is left out where no record knows the key.
	Holder *lookup.Holder `json:"holder,omitempty"`
}

// New returns the verb identify.
func New(s *session.Session) *cobra.Command {
	var output string
	var offline bool
	c := &cobra.Command{
		Use:   "identify",
		Short: "Show the environment, ID and owner of a key on standard input",
		Long: `Reads one key from standard input, and shows its environment and ID. With access to a cluster, it also shows the owner and whether the key
is valid. It looks in the whole cluster, or in the namespace of -n if you may not list records everywhere.

    kubectl dgbot identify <key.txt

A correct form and checksum do not mean that the key is valid.`,
		Args: lookup.NoArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := flags.CheckOutput(output, []string{"", "json", "yaml"}); err != nil {
				return err
			}
			key, err := lookup.ReadKey(s.Streams.In, c.CommandPath())
			if err != nil {
				return err
			}
			it := identification{Key: key.Masked(), Environment: key.Environment(), KeyID: key.ID(), Hash: key.Hash()}
			if !offline {
				lookUp(c.Context(), s, key, &it)
			}
			if output != "" {
				return display.PrintValue(s.Streams.Out, output, it)
			}
			err = display.Writef(s.Streams.Out, "%s is a key of environment %q with the ID %s.\n%s.\n", it.Key, it.Environment, it.KeyID, it.standing(s.Clock.Now()))
			return err
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json or yaml, for the same in a form for programs")
	c.Flags().BoolVar(&offline, "offline", false, "Do not ask the cluster")
	return c
}

// lookUp adds what the cluster says to it. If the cluster does not answer, lookUp notes that on standard error.
func lookUp(ctx context.Context, s *session.Session, key apikey.Key, it *identification) {
	ctx, cancel := context.WithTimeout(ctx, lookup.Timeout)
	defer cancel()
	err := func() error {
		cluster, err := s.Connect()
		if err != nil {
			return err
		}
		f, err := lookup.NewFinder(ctx, cluster)
		if err != nil {
			return err
		}
		it.Holder, err = f.Find(ctx, key)
		it.Asked, it.Where = err == nil, f.Where()
		return err
	}()
	if err != nil {
		_ = display.Writef(s.Streams.ErrOut, "note: no cluster was asked whose it is: %s\n", exit.Explain(err))
	}
}

// standing describes the record of the key.
func (it *identification) standing(now time.Time) string {
	switch {
	case it.Holder != nil:
		return "It is " + it.Holder.Sentence(now)
	case it.Asked:
		return "No record has this key " + it.Where + ": a verifier that watches the same objects rejects the key"
	}
	return "In a cluster: " + display.ShellCommand("kubectl", "get", "dgrec", "-A", "--field-selector", "spec.keyID="+it.KeyID)
}
