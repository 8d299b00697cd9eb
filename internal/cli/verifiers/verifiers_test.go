// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/cli/clitest"
	"dgbot.io/key-operator/internal/cli/exit"
	"dgbot.io/key-operator/internal/cli/session"
	"dgbot.io/key-operator/internal/registration"
)

// leaseOf returns the Lease of a verifier that renewed it a time before now.
func leaseOf(name string, r registration.Registration, now time.Time, silence time.Duration) coordinationv1.Lease {
	lease := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "dgbot-system", Name: name, CreationTimestamp: metav1.Time{Time: now.Add(-2 * time.Hour)}}}
	r.Annotate(&lease, now)
	lease.Spec.RenewTime = &metav1.MicroTime{Time: now.Add(-silence)}
	return lease
}

func leasesAt(now time.Time) []coordinationv1.Lease {
	of := func(version string, change ...func(*registration.Registration)) registration.Registration {
		r := registration.Registration{Observed: map[registration.Watch]string{{}: version}, MaxStaleness: 2 * time.Minute, RegisteredBy: "system:serviceaccount:dgbot-system:dgbot-verifier"}
		for _, do := range change {
			do(&r)
		}
		return r
	}
	serves := func(r *registration.Registration) { r.Serves = true }
	hasStopped := func(r *registration.Registration) { r.Stopped = true }
	narrow := func(r *registration.Registration) {
		r.Observed = map[registration.Watch]string{{Namespace: "support", Environment: "production"}: "48100", {Namespace: "sales"}: "48200"}
	}
	starts := func(r *registration.Registration) { r.Observed = nil }
	unreadable := leaseOf("dgbot-verifier-i", of("1"), now, time.Hour)
	delete(unreadable.Annotations, v1alpha1.MaxStalenessAnnotation)
	other := leaseOf("leader", of("1"), now, 0)
	other.Labels = nil
	return []coordinationv1.Lease{
		leaseOf("dgbot-verifier-b", of("48213", narrow), now, 4*time.Second), leaseOf("dgbot-verifier-a", of("48213"), now, 3*time.Second),
		leaseOf("dgbot-verifier-c", of("48001"), now, 16*time.Second), leaseOf("dgbot-verifier-d", of("48001"), now, 150*time.Second),
		leaseOf("dgbot-verifier-e", of("48001"), now, 151*time.Second), leaseOf("dgbot-verifier-f", of("48001", serves), now, 24*time.Hour),
		leaseOf("dgbot-verifier-g", of("48213", hasStopped), now, time.Second), leaseOf("dgbot-verifier-h", of("", starts), now, -time.Second), unreadable, other,
	}
}

func TestPrintRows_ShowsEachVerifier(t *testing.T) {
	var out bytes.Buffer
	if err := printRows(&out, "wide", rowsOf(leasesAt(clitest.Now), clitest.Now), clitest.Now); err != nil {
		t.Fatal(err)
	}
	by := "system:serviceaccount:dgbot-system:dgbot-verifier"
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"NAME SCOPE OBSERVED RENEWED ON-STALE STATE REGISTERED-BY AGE",
		"dgbot-verifier-a all 48213 3s ago deny after 2m0s current " + by + " 120m",
		"dgbot-verifier-b sales/*,support/production 48200,48100 4s ago deny after 2m0s current " + by + " 120m",
		"dgbot-verifier-c all 48001 16s ago deny after 2m0s silent " + by + " 120m",
		"dgbot-verifier-d all 48001 2m30s ago deny after 2m0s silent " + by + " 120m",
		"dgbot-verifier-e all 48001 2m31s ago deny after 2m0s gone " + by + " 120m",
		"dgbot-verifier-f all 48001 24h ago serve silent " + by + " 120m",
		"dgbot-verifier-g all 48213 1s ago deny after 2m0s stopped " + by + " 120m",
		"dgbot-verifier-h unknown none 0s ago deny after 2m0s current " + by + " 120m",
		"dgbot-verifier-i all 1 60m ago serve silent " + by + " 120m",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// server answers as an API server does that has the Leases of a namespace, in two pages, or with 403 if it has none.
func server(t *testing.T, leases map[string][]coordinationv1.Lease) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		if request.URL.Path == "/version" {
			_, _ = answer.Write([]byte("{}"))
			return
		}
		namespace := strings.Split(strings.TrimPrefix(request.URL.Path, "/apis/coordination.k8s.io/v1/namespaces/"), "/")[0]
		items, isReadable := leases[namespace]
		if !isReadable {
			answer.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(answer).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: "no right",
			})
			return
		}
		if got := request.URL.Query().Get("labelSelector"); got != "keys.dgbot.io/verifier=true" {
			t.Errorf("lists with the selector %q", got)
		}
		page := coordinationv1.LeaseList{TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "LeaseList"}, Items: items}
		if half := len(items) / 2; half > 0 && request.URL.Query().Get("continue") == "" {
			page.Items, page.Continue = items[:half], "next"
		} else {
			page.Items = items[half:]
		}
		_ = json.NewEncoder(answer).Encode(page)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func callVerifiers(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	newCommand := func(streams genericiooptions.IOStreams) *cobra.Command { return session.NewRoot(streams, New) }
	return clitest.Call(t, newCommand, "", append([]string{"verifiers"}, args...)...)
}

func TestVerifiers_ListsTheNamespaceOfTheLeases(t *testing.T) {
	now := time.Now()
	address := server(t, map[string][]coordinationv1.Lease{"dgbot-system": leasesAt(now), "keys": leasesAt(now)[:1], "empty": {}})
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"by default":         {nil, 0, "dgbot-verifier-h"},
		"with the flag":      {[]string{"--usage-namespace=keys"}, 0, "dgbot-verifier-b"},
		"with -n":            {[]string{"-n", "keys"}, 0, "dgbot-verifier-b"},
		"the same twice":     {[]string{"-n", "keys", "--usage-namespace=keys"}, 0, "dgbot-verifier-b"},
		"two namespaces":     {[]string{"-n", "keys", "--usage-namespace=other"}, exit.CodeUsage, "want one of them"},
		"none is registered": {[]string{"-n", "empty"}, 0, "No verifier is registered in namespace empty"},
		"without the right":  {[]string{"-n", "secret"}, exit.CodeFailed, "kubectl create role dgbot-verifiers-reader --verb=list --resource=leases -n secret"},
		"names":              {[]string{"dgbot-verifier-a"}, exit.CodeUsage, "takes no names"},
		"another output":     {[]string{"-o", "name"}, exit.CodeUsage, "--output"},
	} {
		out, errOut, code := callVerifiers(t, append(tc.args, "--server="+address)...)
		if code != tc.code || !strings.Contains(out+errOut, tc.want) {
			t.Errorf("%s: exit code %d, %s%s", name, code, out, errOut)
		}
	}
}

func TestVerifiers_HasOutputsForPrograms(t *testing.T) {
	address := server(t, map[string][]coordinationv1.Lease{"dgbot-system": leasesAt(time.Now()), "empty": {}})
	out, _, _ := callVerifiers(t, "-o", "json", "--server="+address)
	var rows []verifier
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 9 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if b := rows[1]; b.Observed["support/production"] != "48100" || b.OnStale != "deny" || b.MaxStaleness != "2m0s" || b.State != registration.Current || b.Namespace != "dgbot-system" {
		t.Errorf("%+v", b)
	}
	if out, _, _ := callVerifiers(t, "-o", "json", "-n", "empty", "--server="+address); strings.TrimSpace(out) != "[]" {
		t.Errorf("no rows are %q", out)
	}
	if out, _, _ := callVerifiers(t, "-o", "csv", "--server="+address); !strings.Contains(out, `dgbot-verifier-b,"sales/*,support/production","48200,48100",20`) {
		t.Errorf("%s", out)
	}
}
