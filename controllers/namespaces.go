// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Namespaces are those that the manager works in, as a flag takes them: a list with commas, more than once. Empty stands
// for all, but cannot be asked for with an empty value: a template that renders to nothing must not mean the whole cluster.
type Namespaces []string

// String returns the list with commas.
func (n *Namespaces) String() string {
	if n == nil {
		return ""
	}
	return strings.Join(*n, ",")
}

// Set adds the namespaces of a list.
func (n *Namespaces) Set(list string) error {
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			return errors.New("a namespace is empty: name each one, or leave the flag out to work in all")
		}
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return fmt.Errorf("%q cannot be the name of a namespace: %s", name, strings.Join(problems, "; "))
		}
		if !slices.Contains(*n, name) {
			*n = append(*n, name)
		}
	}
	return nil
}

// first returns one of the namespaces; empty for all.
func (n Namespaces) first() string {
	if len(n) == 0 {
		return ""
	}
	return n[0]
}
