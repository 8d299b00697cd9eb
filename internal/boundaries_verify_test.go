// SPDX-License-Identifier: Apache-2.0

package internal_test

// verifyBoundaries are the rules for the packages of the verifier.
func verifyBoundaries() map[string]boundary {
	return map[string]boundary{
		"internal/verify": {
			may: []string{
				module + "/internal/collector", module + "/internal/verify", "k8s.io/client-go/rest", "k8s.io/utils", "github.com/go-logr/logr",
				"github.com/prometheus/client_golang", "github.com/prometheus/client_model", "golang.org/x/sync/errgroup",
			},
			mustNot: []string{module + "/internal/verify/verifytest"},
			inTests: []string{
				module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/registration", module + "/internal/verify/verifytest",
				"k8s.io/apimachinery/pkg/apis/meta/v1",
			},
		},
		"internal/verify/source": {
			may: []string{
				module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/verify/client", module + "/internal/verify/feed",
				module + "/internal/verify/index", module + "/internal/verify/register", module + "/internal/verify/usage", "k8s.io/apimachinery", "k8s.io/client-go",
				"k8s.io/utils/ptr", "sigs.k8s.io/json", "sigs.k8s.io/yaml", "github.com/go-logr/logr", "github.com/prometheus/client_golang",
			},
		},
		"internal/verify/client": {
			may: []string{module + "/api/v1alpha1", "k8s.io/api/core", "k8s.io/apimachinery", "k8s.io/client-go/rest"},
		},
		"internal/verify/index": {
			may: []string{
				module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/identity", module + "/internal/lifecycle/revisions",
				module + "/internal/lifecycle/standing", "k8s.io/api/core", "k8s.io/apimachinery/pkg/apis/meta/v1", "k8s.io/apimachinery/pkg/types",
			},
			mustNot: []string{"context", "log", "net", "os"},
			noClock: true,
			inTests: []string{module + "/internal/verify/verifytest"},
		},
		"internal/verify/feed": {
			may: []string{
				module + "/api/v1alpha1", module + "/internal/continuity", module + "/internal/registration", module + "/internal/verify/client",
				module + "/internal/verify/index", "k8s.io/api/core", "k8s.io/apimachinery", "k8s.io/client-go/rest", "k8s.io/utils", "github.com/go-logr/logr",
				"github.com/prometheus/client_golang", "golang.org/x/sys/unix", "golang.org/x/time/rate",
			},
			inTests: []string{module + "/internal/apikey", module + "/internal/identity", module + "/internal/verify/verifytest"},
		},
		"internal/verify/serve": {
			may: []string{
				module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/connlimit", module + "/internal/listening",
				module + "/internal/verify/index", "k8s.io/api/authentication", "k8s.io/api/authorization", "k8s.io/apimachinery", "k8s.io/client-go",
				"k8s.io/utils", "sigs.k8s.io/controller-runtime/pkg/certwatcher", "sigs.k8s.io/json", "github.com/go-logr/logr", "github.com/prometheus/client_golang",
				"golang.org/x/sync/errgroup", "github.com/envoyproxy/go-control-plane/envoy", "google.golang.org/grpc", "google.golang.org/protobuf",
				"google.golang.org/genproto/googleapis/rpc",
			},
			inTests: []string{module + "/internal/identity", module + "/internal/verify/verifytest", "k8s.io/api/core"},
		},
		"internal/verify/register": {
			may: []string{
				module + "/api/v1alpha1", module + "/internal/registration", "k8s.io/api/authentication", "k8s.io/api/coordination", "k8s.io/apimachinery",
				"k8s.io/client-go", "k8s.io/utils", "github.com/go-logr/logr", "github.com/prometheus/client_golang",
			},
			inTests: []string{module + "/internal/verify/verifytest"},
		},
		"internal/verify/usage": {
			may: []string{
				module + "/api/v1alpha1", module + "/internal/lifecycle/tracking", module + "/internal/verify/client", module + "/internal/verify/index",
				"k8s.io/api/coordination", "k8s.io/apimachinery", "k8s.io/client-go", "k8s.io/utils", "github.com/go-logr/logr",
				"github.com/prometheus/client_golang",
			},
			inTests: []string{module + "/internal/verify/verifytest"},
		},
		// Test helpers that several parts use.
		"internal/verify/verifytest": {
			may: []string{
				module + "/api/v1alpha1", module + "/internal/apikey", module + "/internal/identity", "k8s.io/api/authentication", "k8s.io/api/coordination",
				"k8s.io/api/core", "k8s.io/apimachinery", "k8s.io/client-go/kubernetes/scheme", "k8s.io/utils/clock",
			},
		},
	}
}
