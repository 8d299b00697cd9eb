// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const (
	operatorNamespace = "dgbot-system"
	environmentKind   = "DGbotEnvironment"
)

// slots holds what comes in the place of scalars once the object is text: YAML would quote it, or take it for something else.
type slots []string

// put keeps an expression and returns the scalar that stands for it.
func (s *slots) put(expression string) string {
	*s = append(*s, expression)
	return fmt.Sprintf("SLOT-%03d", len(*s)-1)
}

// A slot that is a list's item or a map's key takes the whole line, since its helper gives any number of them.
var (
	wholeLine = regexp.MustCompile(`(?m)^( *)(?:- )?SLOT-(\d{3})(?:: "")?$`)
	inLine    = regexp.MustCompile(`SLOT-(\d{3})`)
)

func (s *slots) fill(text string) string {
	expression := func(number string) string {
		var i int
		_, _ = fmt.Sscanf(number, "%d", &i)
		return (*s)[i]
	}
	text = wholeLine.ReplaceAllStringFunc(text, func(line string) string {
		match := wholeLine.FindStringSubmatch(line)
		return fmt.Sprintf("{{- with %s | trim }}{{ . | nindent %d }}{{- end }}", expression(match[2]), len(match[1]))
	})
	return inLine.ReplaceAllStringFunc(text, func(slot string) string {
		return "{{ " + expression(inLine.FindStringSubmatch(slot)[1]) + " }}"
	})
}

// template is the object as a document of a template. Expressions say $ and not ".", which is something else within a range.
func (d document) template() (string, error) {
	object, slots := d.object.Copy(), &slots{}
	if err := d.metadata(object, slots); err != nil {
		return "", err
	}
	if err := valuesInto(object, slots); err != nil {
		return "", fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
	}
	if err := moveNamespace(object.YNode(), slots.put("$.Release.Namespace | quote")); err != nil {
		return "", fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
	}
	text, err := object.String()
	if err != nil {
		return "", err
	}
	// What looks like a template in config, in the texts of alerts, is to stay as it is.
	return "---\n" + slots.fill(strings.ReplaceAll(text, "{{", `{{ "{{" }}`)), nil
}

func (d document) open() string {
	var text string
	switch len(d.conditions) {
	case 0:
	case 1:
		text = "{{- if " + d.conditions[0] + " }}\n"
	default:
		text = "{{- if and (" + strings.Join(d.conditions, ") (") + ") }}\n"
	}
	if d.perNamespace {
		text = "{{- range $namespace := $.Values.manager.watchNamespaces }}\n" + text
	}
	return text
}

func (d document) close() string {
	return strings.Repeat("{{- end }}\n", strings.Count(d.open(), "\n"))
}

func (d document) sameGuard(as document) bool { return d.file == as.file && d.open() == as.open() }

func (d document) metadata(object *yaml.RNode, slots *slots) error {
	if d.perNamespace {
		if err := object.SetNamespace(slots.put("$namespace | quote")); err != nil {
			return err
		}
	}
	if err := set(object, "", "metadata", "labels", slots.put(labelsOf(object))); err != nil {
		return err
	}
	if of := annotationsOf(object); of != "" {
		// None of these objects has annotations in config: a map that may be left without an entry would be null.
		return set(object, "", "metadata", slots.put(`include "dgbot.annotations" `+of))
	}
	switch {
	case object.GetKind() == "CustomResourceDefinition":
		return set(object, "", "metadata", "annotations", slots.put(`include "dgbot.keep" $`))
	case object.GetKind() == environmentKind:
		return set(object, "", "metadata", "annotations", slots.put(`include "dgbot.environmentHook" $`))
	case object.GetKind() == "Namespace" && object.GetName() != operatorNamespace:
		// It has no annotations: a map that may be left without an entry would be null.
		return set(object, "", "metadata", slots.put(`include "dgbot.keepAnnotation" $`))
	}
	return nil
}

// set writes a scalar to a path, the last element of which may not be there yet.
func set(at *yaml.RNode, value string, path ...string) error {
	last := len(path) - 1
	parent, err := at.Pipe(yaml.LookupCreate(yaml.MappingNode, path[:last]...))
	if err != nil {
		return err
	}
	node := yaml.NewStringRNode(value)
	if value != "" {
		node = yaml.NewScalarRNode(value)
	}
	return parent.PipeE(yaml.SetField(path[last], node))
}

// add appends a scalar to a list that is there.
func add(at *yaml.RNode, value string, list ...string) error {
	return at.PipeE(yaml.Lookup(list...), yaml.Append(yaml.NewScalarRNode(value).YNode()))
}

// drop removes fields that a slot writes.
func drop(at *yaml.RNode, fields ...string) error {
	for _, field := range fields {
		if err := at.PipeE(yaml.Clear(field)); err != nil {
			return err
		}
	}
	return nil
}

// moveNamespace puts a slot in the place of the operator's namespace. Where it is only a part of a text no test would notice that it
// stays behind: that is an error.
func moveNamespace(node *yaml.Node, slot string) error {
	if node.Kind == yaml.ScalarNode && strings.Contains(node.Value, operatorNamespace) {
		if node.Value != operatorNamespace {
			return fmt.Errorf("%q is part of %q", operatorNamespace, node.Value)
		}
		node.Value, node.Style = slot, 0
	}
	for _, child := range node.Content {
		if err := moveNamespace(child, slot); err != nil {
			return err
		}
	}
	return nil
}
