// SPDX-License-Identifier: Apache-2.0

// Package target determines which keys a verb is about. A Selection names keys of one namespace that a verb acts on; a Listing has the keys of
// one or all namespaces that a verb shows.
package target

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/cluster"
	"dgbot.io/key-operator/internal/cli/display"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/lookup"
	"dgbot.io/key-operator/internal/cli/session"
)

// Selection holds which keys of one namespace a verb acts on: by name, by label, or all.
type Selection struct {
	selector string
	all      bool
	// Final describes the effect of the verb that cannot be undone; empty if all can. With an effect, Choose asks the user to confirm unless Yes.
	Final string
	Yes   bool
	// TakesKey: instead of names there may be - for the key on standard input.
	TakesKey bool
}

// fromKey reports whether a key on standard input names the DGbotAPIKey.
func (s *Selection) fromKey(names []string) bool {
	return s.TakesKey && len(names) == 1 && names[0] == "-"
}

// AddFlags adds the flags of a selection to a verb.
func (s *Selection) AddFlags(c *cobra.Command) {
	c.Flags().StringVarP(&s.selector, "selector", "l", "", "Labels that select keys, such as team=crm, instead of names")
	c.Flags().BoolVar(&s.all, "all", false, "All keys of the namespace, instead of names")
	if s.Final != "" {
		c.Flags().BoolVarP(&s.Yes, "yes", "y", false, "Do not ask whether to go on")
	}
}

// Check rejects a call that names no keys, or names them in two ways, before the cluster is asked.
func (s *Selection) Check(names []string) error {
	for _, name := range names {
		if strings.HasPrefix(name, "dgbot_") {
			return exit.Usage("a key does not belong on the command line, where others can see it: name the DGbotAPIKey, or find it with 'kubectl dgbot identify' and the key on standard input")
		}
	}
	switch {
	case s.TakesKey && len(names) > 1 && slices.Contains(names, "-"):
		return exit.Usage("- for the key on standard input goes without names")
	case slices.ContainsFunc(names, func(name string) bool {
		return !display.IsName(name) && !(s.TakesKey && name == "-")
	}):
		return exit.Usage("%q: want names of DGbotAPIKeys, such as production-server", names)
	}
	if _, err := labels.Parse(s.selector); err != nil {
		return exit.Usage("--selector: %w", err)
	}
	given := 0
	for _, is := range []bool{len(names) > 0, s.selector != "", s.all} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return exit.Usage("say which keys: by NAME, with --selector, or with --all")
	case given > 1:
		return exit.Usage("say which keys in one way: by NAME, with --selector, or with --all")
	}
	if s.fromKey(names) && !s.Yes {
		return exit.Usage("with the key on standard input, kubectl dgbot cannot ask for confirmation: add --yes")
	}
	return nil
}

// Choose connects, and returns the selected keys after the user has confirmed what cannot be undone. It returns no keys if the key on
// standard input does not verify any more.
func (s *Selection) Choose(ctx context.Context, in *session.Session, names []string) (*cluster.Client, []v1alpha1.DGbotAPIKey, error) {
	cluster, err := in.Connect()
	if err != nil {
		return nil, nil, err
	}
	if s.fromKey(names) {
		keys, err := keyOnInput(ctx, in, cluster)
		return cluster, keys, err
	}
	keys, err := s.keys(ctx, cluster, names)
	if err == nil && s.Final != "" && !s.Yes {
		err = confirm(in, keys, s.Final)
	}
	return cluster, keys, err
}

// keyOnInput returns the DGbotAPIKey of the key on standard input.
func keyOnInput(ctx context.Context, s *session.Session, c *cluster.Client) ([]v1alpha1.DGbotAPIKey, error) {
	text, err := lookup.ReadKey(s.Streams.In, "kubectl dgbot compromise - --yes")
	if err != nil {
		return nil, err
	}
	f, err := lookup.NewFinder(ctx, c)
	if err != nil {
		return nil, err
	}
	h, err := f.Find(ctx, text)
	switch {
	case err != nil:
		return nil, err
	case h == nil:
		return nil, exit.No("no record knows %s %s", text.Masked(), f.Where())
	}
	_ = display.Writef(s.Streams.ErrOut, "%s is %s\n", text.Masked(), h.Sentence(f.Now))
	if h.Verdict.IsFinal() {
		return nil, display.Writef(s.Streams.Out, "It does not verify any more: nothing was done\n")
	}
	key, err := c.Key(ctx, types.NamespacedName{Namespace: h.Namespace, Name: h.Name})
	if apierrors.IsNotFound(err) || err == nil && !h.IsOf(key) {
		return nil, exit.No("DGbotAPIKey %s/%s is gone, and its records go with it", h.Namespace, h.Name)
	}
	return []v1alpha1.DGbotAPIKey{*key}, err
}

// confirm asks before something that cannot be taken back.
func confirm(s *session.Session, keys []v1alpha1.DGbotAPIKey, final string) error {
	var names []string
	for i := range keys {
		names = append(names, keys[i].Name)
	}
	_ = display.Writef(s.Streams.ErrOut, "%s in namespace %q: %s. Go on? [y/N] ", strings.Join(names, ", "), keys[0].Namespace, final)
	answer, err := bufio.NewReader(s.Streams.In).ReadString('\n')
	if strings.EqualFold(strings.TrimSpace(answer), "y") {
		return nil
	}
	if err != nil {
		return exit.Usage("no answer on standard input: confirm with y, or add --yes")
	}
	return exit.No("nothing was done")
}

func (s *Selection) keys(ctx context.Context, c *cluster.Client, names []string) ([]v1alpha1.DGbotAPIKey, error) {
	if len(names) == 0 {
		keys, err := c.Keys(ctx, c.Namespace, s.selector)
		if err == nil && len(keys) == 0 {
			err = fmt.Errorf("no DGbotAPIKey in namespace %q is selected", c.Namespace)
		}
		return keys, err
	}
	var keys []v1alpha1.DGbotAPIKey
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		key, err := c.Key(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name})
		if apierrors.IsNotFound(err) {
			err = fmt.Errorf("there is no DGbotAPIKey %q in namespace %q", name, c.Namespace)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, *key)
	}
	return keys, nil
}
