// SPDX-License-Identifier: Apache-2.0

package internal_test

import "maps"

// controllerBoundaries are the rules of the control plane. The packages of the kinds do not know each other: what several of them need lies
// below controllers/internal, where a package may import those that it names.
func controllerBoundaries() map[string]boundary {
	const rooms = module + "/controllers/internal/"
	kubernetes := []string{module + "/api/v1alpha1", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go", "k8s.io/utils", "sigs.k8s.io/controller-runtime"}
	rule := func(also ...string) boundary {
		// The clock is a field, so that tests can move it.
		return boundary{may: append(also, kubernetes...), noClock: true}
	}
	const (
		lifecycle, apikey, identity = module + "/internal/lifecycle", module + "/internal/apikey", module + "/internal/identity"
		metrics                     = "github.com/prometheus/client_golang"
	)
	return map[string]boundary{
		// It makes a manager of the controllers. Its tests run all of them.
		"controllers":               rule(module+"/controllers", module+"/internal/collector", module+"/internal/registration", module+"/internal/servertime", lifecycle, apikey, identity, metrics, "github.com/go-logr/logr"),
		"controllers/apikeys":       rule(rooms[:len(rooms)-1], lifecycle, apikey, module+"/internal/continuity", metrics, "golang.org/x/sync/errgroup"),
		"controllers/chatbots":      rule(rooms[:len(rooms)-1], lifecycle, identity, apikey, metrics),
		"controllers/environments":  rule(rooms+"caching", rooms+"queue", rooms+"read", rooms+"rules", rooms+"write", lifecycle+"/environments", lifecycle+"/report", lifecycle+"/schedule"),
		"controllers/leases":        rule(rooms+"queue", rooms+"read", rooms+"rules", rooms+"write", lifecycle+"/tracking", module+"/internal/registration"),
		"controllers/records":       rule(rooms+"queue", rooms+"read", rooms+"write", lifecycle+"/standing", metrics),
		"controllers/objectmetrics": rule(lifecycle+"/revisions", lifecycle+"/standing", lifecycle+"/steps", metrics, "github.com/prometheus/client_model"),

		"controllers/internal/caching":     rule(rooms+"read", rooms+"reservation", module+"/internal/continuity", module+"/internal/registration", "github.com/go-logr/logr"),
		"controllers/internal/published":   rule(rooms+"caching", rooms+"queue", rooms+"read", rooms+"write", lifecycle+"/effective", lifecycle+"/report", lifecycle+"/revisions", lifecycle+"/standing"),
		"controllers/internal/queue":       rule(module + "/internal/fairness"),
		"controllers/internal/ranks":       rule(rooms+"queue", rooms+"read", rooms+"rules", lifecycle+"/effective"),
		"controllers/internal/read":        rule(lifecycle+"/report", apikey),
		"controllers/internal/reservation": rule(identity),
		"controllers/internal/rules":       rule(rooms+"caching", rooms+"read", lifecycle+"/schedule"),
		"controllers/internal/verifiers":   rule(rooms+"read", lifecycle+"/propagation", module+"/internal/registration", metrics),
		"controllers/internal/write":       rule(rooms+"read", lifecycle+"/report", lifecycle+"/steps", apikey, metrics),
	}
}

func merged(all ...map[string]boundary) map[string]boundary {
	result := map[string]boundary{}
	for _, some := range all {
		maps.Copy(result, some)
	}
	return result
}
