// SPDX-License-Identifier: Apache-2.0

package cli

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
)

// selection are the keys that a verb is about: by name, by label, or all of the namespace.
type selection struct {
	selector string
	all      bool
	// final is what cannot be taken back about the verb; empty where it can. Then it is asked first, unless yes.
	final string
	yes   bool
	// takesKey: instead of names there may be - for the key on standard input.
	takesKey bool
}

// fromKey reports whether a key on standard input names the DGbotAPIKey.
func (s *selection) fromKey(names []string) bool {
	return s.takesKey && len(names) == 1 && names[0] == "-"
}

// addFlags adds the flags of a selection to a verb.
func (s *selection) addFlags(c *cobra.Command) {
	c.Flags().StringVarP(&s.selector, "selector", "l", "", "Labels that select keys, such as team=crm, instead of names")
	c.Flags().BoolVar(&s.all, "all", false, "All keys of the namespace, instead of names")
	if s.final != "" {
		c.Flags().BoolVarP(&s.yes, "yes", "y", false, "Do not ask whether to go on")
	}
}

// check rejects a call that names no keys, or names them in two ways, before the cluster is asked.
func (s *selection) check(names []string) error {
	for _, name := range names {
		if strings.HasPrefix(name, "dgbot_") {
			return usage("a key does not belong on the command line, where others can see it: name the DGbotAPIKey, or find it with 'kubectl dgbot identify' and the key on standard input")
		}
	}
	switch {
	case s.takesKey && len(names) > 1 && slices.Contains(names, "-"):
		return usage("- for the key on standard input goes without names")
	case slices.ContainsFunc(names, func(name string) bool {
		return !isName(name) && !(s.takesKey && name == "-")
	}):
		return usage("%q: want names of DGbotAPIKeys, such as production-server", names)
	}
	if _, err := labels.Parse(s.selector); err != nil {
		return usage("--selector: %w", err)
	}
	given := 0
	for _, is := range []bool{len(names) > 0, s.selector != "", s.all} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return usage("say which keys: by NAME, with --selector, or with --all")
	case given > 1:
		return usage("say which keys in one way: by NAME, with --selector, or with --all")
	}
	if s.fromKey(names) && !s.yes {
		return usage("with the key on standard input, kubectl dgbot cannot ask for confirmation: add --yes")
	}
	return nil
}

// choose connects, and returns the selected keys after the user has confirmed what cannot be undone. It returns no keys if the key on
// standard input does not verify any more.
func (s *selection) choose(ctx context.Context, in *session, names []string) (*cluster, []v1alpha1.DGbotAPIKey, error) {
	cluster, err := in.connect()
	if err != nil {
		return nil, nil, err
	}
	if s.fromKey(names) {
		keys, err := keyOnInput(ctx, in, cluster)
		return cluster, keys, err
	}
	keys, err := s.keys(ctx, cluster, names)
	if err == nil && s.final != "" && !s.yes {
		err = confirm(in, keys, s.final)
	}
	return cluster, keys, err
}

// keyOnInput returns the DGbotAPIKey of the key on standard input.
func keyOnInput(ctx context.Context, s *session, c *cluster) ([]v1alpha1.DGbotAPIKey, error) {
	text, err := readKey(s.streams.In, "kubectl dgbot compromise - --yes")
	if err != nil {
		return nil, err
	}
	f, err := newFinder(ctx, c)
	if err != nil {
		return nil, err
	}
	h, err := f.find(ctx, text)
	switch {
	case err != nil:
		return nil, err
	case h == nil:
		return nil, no("no record knows %s %s", text.Masked(), f.where())
	}
	_ = writef(s.streams.ErrOut, "%s is %s\n", text.Masked(), h.sentence(f.now))
	if h.Verdict.IsFinal() {
		return nil, writef(s.streams.Out, "It does not verify any more: nothing was done\n")
	}
	key, err := c.key(ctx, types.NamespacedName{Namespace: h.Namespace, Name: h.Name})
	if apierrors.IsNotFound(err) || err == nil && !h.isOf(key) {
		return nil, no("DGbotAPIKey %s/%s is gone, and its records go with it", h.Namespace, h.Name)
	}
	return []v1alpha1.DGbotAPIKey{*key}, err
}

// confirm asks before something that cannot be taken back.
func confirm(s *session, keys []v1alpha1.DGbotAPIKey, final string) error {
	var names []string
	for i := range keys {
		names = append(names, keys[i].Name)
	}
	_ = writef(s.streams.ErrOut, "%s in namespace %q: %s. Go on? [y/N] ", strings.Join(names, ", "), keys[0].Namespace, final)
	answer, err := bufio.NewReader(s.streams.In).ReadString('\n')
	if strings.EqualFold(strings.TrimSpace(answer), "y") {
		return nil
	}
	if err != nil {
		return usage("no answer on standard input: confirm with y, or add --yes")
	}
	return no("nothing was done")
}

func (s *selection) keys(ctx context.Context, c *cluster, names []string) ([]v1alpha1.DGbotAPIKey, error) {
	if len(names) == 0 {
		keys, err := c.keys(ctx, c.namespace, s.selector)
		if err == nil && len(keys) == 0 {
			err = fmt.Errorf("no DGbotAPIKey in namespace %q is selected", c.namespace)
		}
		return keys, err
	}
	var keys []v1alpha1.DGbotAPIKey
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		key, err := c.key(ctx, types.NamespacedName{Namespace: c.namespace, Name: name})
		if apierrors.IsNotFound(err) {
			err = fmt.Errorf("there is no DGbotAPIKey %q in namespace %q", name, c.namespace)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, *key)
	}
	return keys, nil
}

// failure is the error of one key.
type failure struct {
	name string
	err  error
}

// each calls do for every key, also after an error, and returns one error for all.
func each(s *session, keys []v1alpha1.DGbotAPIKey, do func(*v1alpha1.DGbotAPIKey) error) error {
	var failures []failure
	for i := range keys {
		if err := do(&keys[i]); err != nil {
			failures = append(failures, failure{name: keys[i].Name, err: err})
		}
	}
	return reportFailures(s, failures, len(keys))
}

// reportFailures returns one error for the failures of several keys. If there were several keys, it prints each failure in a line.
func reportFailures(s *session, failures []failure, of int) error {
	switch {
	case len(failures) == 0:
		return nil
	case of == 1:
		return ofKey(failures[0].name+": ", failures[0].err)
	}
	for _, f := range failures {
		_ = writef(s.streams.ErrOut, "%s: %s\n", f.name, explain(f.err))
	}
	return ofKey(fmt.Sprintf("%d of %d keys, the first %s: ", len(failures), of, failures[0].name), failures[0].err)
}
