// SPDX-License-Identifier: Apache-2.0

package internal_test

import "strings"

// cliBoundaries are the rules of the kubectl plugin, from its foundations up. A verb imports the packages below the verbs and no other verb.
// Only internal/cli imports all verbs.
func cliBoundaries() map[string]boundary {
	const plugin = "internal/cli"
	// rule allows packages of the plugin, and other packages: of this module where the path begins with "api" or "internal".
	rule := func(names, others string) boundary {
		var b boundary
		for _, name := range strings.Fields(names) {
			b.may = append(b.may, module+"/"+plugin+"/"+name)
		}
		for _, path := range strings.Fields(others) {
			if strings.HasPrefix(path, "api/") || strings.HasPrefix(path, "internal/") {
				path = module + "/" + path
			}
			b.may = append(b.may, path)
		}
		// Tests simulate clusters, and run the verb of their package.
		b.inTests = []string{
			module + "/" + plugin + "/clitest", module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/lifecycle", module + "/internal/registration",
			"k8s.io/api", "k8s.io/apimachinery", "k8s.io/cli-runtime/pkg/genericiooptions", "sigs.k8s.io/yaml", "github.com/spf13/cobra",
		}
		return b
	}
	const api, machinery, cobra = "api/v1alpha1 ", "k8s.io/apimachinery ", "github.com/spf13/cobra "
	rules := map[string]boundary{
		plugin + "/search":  rule("", "internal/apikey"),
		plugin + "/display": rule("", machinery+"internal/apikey internal/lifecycle/instant sigs.k8s.io/yaml golang.org/x/term"),
		plugin + "/cluster": rule("", api+machinery+"k8s.io/api/coordination k8s.io/cli-runtime/pkg/genericclioptions k8s.io/client-go"),
		plugin + "/status":  rule("", api+machinery+"internal/registration k8s.io/api/coordination internal/lifecycle/instant internal/lifecycle/requests"),
		plugin + "/exit":    rule("display", api+machinery),
		plugin + "/flags":   rule("exit", ""),
		plugin + "/session": rule("cluster display exit flags", machinery+cobra+"internal/version k8s.io/cli-runtime k8s.io/utils/clock"),
		plugin + "/lookup": rule("cluster display exit search",
			api+machinery+cobra+"internal/apikey internal/lifecycle/revisions internal/lifecycle/standing"),
		plugin + "/target": rule("cluster display exit flags lookup session", api+machinery+cobra),
		// The verbs.
		plugin + "/list":      rule("cluster display session status target", api+machinery+cobra),
		plugin + "/audit":     rule("display exit flags session status target", api+machinery+cobra+"internal/lifecycle/effective"),
		plugin + "/dashboard": rule("cluster display exit session status target", api+machinery+cobra+"k8s.io/client-go/tools/cache"),
		plugin + "/describe":  rule("cluster display flags session status target", api+machinery+cobra+"internal/lifecycle k8s.io/api k8s.io/client-go"),
		plugin + "/change":    rule("cluster display exit flags session status target", api+machinery+cobra+"internal/lifecycle k8s.io/api/coordination"),
		plugin + "/identify":  rule("display exit flags lookup session", cobra+"internal/apikey"),
		plugin + "/verify":    rule("display exit flags lookup session", api+cobra+"internal/apikey"),
		plugin + "/verifiers": rule("cluster display exit flags session", api+machinery+cobra+"internal/registration k8s.io/api/coordination"),
		plugin + "/scan":      rule("display exit flags lookup search session", machinery+cobra+"internal/apikey k8s.io/utils/clock"),
		// Test helpers that several packages use. They import no verb, so that the tests of each verb can use them.
		plugin + "/clitest": rule("cluster exit", api+machinery+cobra+"internal/apikey k8s.io/cli-runtime/pkg/genericiooptions"),
	}
	all := rule("audit change dashboard describe display exit flags identify list scan session verifiers verify", cobra+"internal/version k8s.io/cli-runtime/pkg/genericiooptions")
	all.inTests = append(all.inTests, module+"/"+plugin+"/cluster")
	rules[plugin] = all
	return rules
}
