// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const componentLabel = "app.kubernetes.io/component"

// componentOf returns the program that an object belongs to, manager or verifier: those are also the names of the values.
// It is empty for an object of both or of neither.
func componentOf(object *yaml.RNode) string {
	switch object.GetKind() {
	case "Service":
		return text(object, "spec", "selector", componentLabel)
	case "Deployment", "PodDisruptionBudget":
		return text(object, "spec", "selector", "matchLabels", componentLabel)
	case "ServiceAccount":
		if name := strings.TrimPrefix(object.GetName(), "dgbot-"); name == "manager" || name == "verifier" {
			return name
		}
	}
	return ""
}

func text(object *yaml.RNode, path ...string) string {
	node, err := object.Pipe(yaml.Lookup(path...))
	if err != nil || node == nil {
		return ""
	}
	return node.YNode().Value
}

// labelsOf returns the expression for the labels that the chart adds.
func labelsOf(object *yaml.RNode) string {
	switch object.GetKind() {
	case "Service":
		return `include "dgbot.labelsWith" (list $ $.Values.` + componentOf(object) + `.service.labels)`
	case "ServiceMonitor":
		return `include "dgbot.labelsWith" (list $ $.Values.prometheus.serviceMonitor.labels)`
	case "PrometheusRule":
		return `include "dgbot.labelsWith" (list $ $.Values.prometheus.prometheusRule.labels)`
	}
	return `include "dgbot.labels" $`
}

// annotationsOf returns the value with the annotations of an object; empty where there is none.
func annotationsOf(object *yaml.RNode) string {
	component := componentOf(object)
	switch object.GetKind() {
	case "Deployment":
		return "$.Values." + component + ".deploymentAnnotations"
	case "Service":
		return "$.Values." + component + ".service.annotations"
	case "ServiceAccount":
		if component != "" {
			return "$.Values." + component + ".serviceAccount.annotations"
		}
	case "ServiceMonitor":
		return "$.Values.prometheus.serviceMonitor.annotations"
	case "PrometheusRule":
		return "$.Values.prometheus.prometheusRule.annotations"
	}
	return ""
}

// listens returns the condition that a listener is not switched off.
func listens(component, port string) string {
	return fmt.Sprintf(`include "dgbot.port" (list $ %q %q)`, component, port)
}

// valuesInto puts values into an object, beside those in its metadata.
func valuesInto(object *yaml.RNode, slots *slots) error {
	component := componentOf(object)
	switch object.GetKind() {
	case "Deployment":
		return workload(object, slots, component)
	case "Service":
		return service(object, slots, component)
	case "PodDisruptionBudget":
		return set(object, slots.put("toJson $.Values."+component+".podDisruptionBudget.maxUnavailable"), "spec", "maxUnavailable")
	case "NetworkPolicy":
		return eachElement(object, func(rule *yaml.RNode) error {
			if rule.Field("from") == nil {
				return nil
			}
			return set(rule, slots.put("toJson $.Values.networkPolicy.verifierClients"), "from")
		}, "spec", "ingress")
	case "ServiceMonitor":
		return eachElement(object, func(endpoint *yaml.RNode) error {
			return set(endpoint, "", slots.put(`include "dgbot.entries" $.Values.prometheus.serviceMonitor.endpoint`))
		}, "spec", "endpoints")
	}
	return nil
}

func eachElement(object *yaml.RNode, do func(*yaml.RNode) error, path ...string) error {
	list, err := object.Pipe(yaml.Lookup(path...))
	if err != nil {
		return err
	}
	return list.VisitElements(do)
}

// service replaces the ports by those that the flags of the program lead to.
func service(object *yaml.RNode, slots *slots, component string) error {
	names, err := servicePorts(object)
	if err != nil {
		return err
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	ports := fmt.Sprintf(`include "dgbot.servicePorts" (list $ %q (list %s))`, component, strings.Join(quoted, " "))
	return cmp.Or(
		replaceList(object, slots.put(ports), "spec", "ports"),
		set(object, "", "spec", slots.put(`include "dgbot.entries" $.Values.`+component+`.service.spec`)),
	)
}

// servicePorts returns the names of a Service's ports.
func servicePorts(object *yaml.RNode) (names []string, err error) {
	err = eachElement(object, func(port *yaml.RNode) error {
		names = append(names, text(port, "name"))
		return nil
	}, "spec", "ports")
	return names, err
}

// workload puts values into a Deployment with one container, which has the name of its component.
func workload(object *yaml.RNode, slots *slots, component string) error {
	pod, err := object.Pipe(yaml.Lookup("spec", "template", "spec"))
	if err != nil {
		return err
	}
	containers, err := pod.Pipe(yaml.Lookup("containers"))
	if err != nil {
		return err
	}
	elements, err := containers.Elements()
	if err != nil || len(elements) != 1 {
		return fmt.Errorf("it has %d containers (%w)", len(elements), err)
	}
	if name := text(elements[0], "name"); name != component {
		return fmt.Errorf("its container is %s and its component %s: the values have one name", name, component)
	}
	values, arguments := "$.Values."+component, fmt.Sprintf(` (list $ %q)`, component)
	return cmp.Or(
		drop(object.Field("spec").Value, "replicas", "strategy"),
		set(object, "", "spec", slots.put(`include "dgbot.deployment"`+arguments)),
		set(object, "", "spec", "template", "metadata", "labels", slots.put(`include "dgbot.podLabels" (list $ `+values+`.podLabels)`)),
		set(object, "", "spec", "template", "metadata", "annotations", slots.put(`include "dgbot.entries" `+values+`.podAnnotations`)),
		drop(pod, "terminationGracePeriodSeconds", "securityContext", "topologySpreadConstraints"),
		set(pod, "", slots.put(`include "dgbot.pod"`+arguments)),
		containerValues(elements[0], slots, component),
		add(pod, slots.put(`include "dgbot.items" `+values+`.extraContainers`), "containers"),
	)
}

func containerValues(container *yaml.RNode, slots *slots, component string) error {
	values, arguments := "$.Values."+component, fmt.Sprintf(` (list $ %q)`, component)
	return cmp.Or(
		set(container, slots.put(`include "dgbot.image" $ | quote`), "image"),
		set(container, "", slots.put(`include "dgbot.pullPolicy" $`)),
		set(container, slots.put(`include "dgbot.resources" `+values+".resources"), "resources"),
		drop(container, "securityContext"),
		set(container, "", slots.put(`include "dgbot.container"`+arguments)),
		add(container, slots.put(`include "dgbot.`+component+`.args" $`), "args"),
		add(container, slots.put(`include "dgbot.`+component+`.env" $`), "env"),
		replaceList(container, slots.put(`include "dgbot.containerPorts"`+arguments), "ports"),
		probe(container.Field("livenessProbe").Value, slots, component, "livenessProbe"),
		probe(container.Field("readinessProbe").Value, slots, component, "readinessProbe"),
	)
}

// probe keeps what is asked, with the scheme that the port has, and leaves the timing to values.
func probe(at *yaml.RNode, slots *slots, component, name string) error {
	get, err := at.Pipe(yaml.Lookup("httpGet"))
	if err != nil {
		return err
	}
	return cmp.Or(
		at.PipeE(yaml.FieldClearer{Name: "periodSeconds"}),
		func() error {
			if text(get, "port") != "http" {
				return nil
			}
			// A slot that takes the whole line cannot be within braces.
			get.YNode().Style = 0
			return set(get, "", slots.put(fmt.Sprintf(`include "dgbot.probeScheme" (list $ %q)`, component)))
		}(),
		set(at, "", slots.put(fmt.Sprintf(`include "dgbot.entries" (include "dgbot.present" $.Values.%s.%s | fromJson)`, component, name))),
	)
}

// replaceList puts one scalar in the place of all elements of a list.
func replaceList(at *yaml.RNode, value string, path ...string) error {
	list, err := at.Pipe(yaml.Lookup(path...))
	if err != nil {
		return err
	}
	list.YNode().Content = []*yaml.Node{yaml.NewScalarRNode(value).YNode()}
	return nil
}
