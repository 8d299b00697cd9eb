// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/registration"
	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// registrations returns the Leases of verifiers whose pod has a name.
func registrations(t *testing.T, pod string) (found []coordinationv1.Lease) {
	t.Helper()
	leases := &coordinationv1.LeaseList{}
	must(t, admin.List(t.Context(), leases, client.InNamespace(controlplane.OperatorNamespace), client.MatchingLabels{v1alpha1.VerifierLabel: "true"}))
	for _, lease := range leases.Items {
		if strings.HasPrefix(lease.Name, v1alpha1.VerifierLeasePrefix+pod+"-") {
			found = append(found, lease)
		}
	}
	return found
}

// isStopped reports whether a Lease other than one states that its process is stopped.
func isStopped(leases []coordinationv1.Lease, except string) bool {
	return slices.ContainsFunc(leases, func(lease coordinationv1.Lease) bool { return lease.Name != except && registration.Of(&lease).Stopped })
}

// TestRegistration_OfARealVerifier follows the Lease of a verifier from its start to its end, with the rights that config/verifier gives.
func TestRegistration_OfARealVerifier(t *testing.T) {
	p := newPlace(t)
	t.Setenv("POD_NAME", p.Name)
	v := startVerifier(t, "--drain-delay=1s")
	v.ready()
	text := p.key("crm", "staging")
	v.becomes("the key", text, http.StatusOK)
	p.PatchKey("crm", `{"spec":{"state":"Revoked"}}`)
	v.becomes("the key", text, http.StatusUnauthorized)
	version := ""
	for _, record := range p.Records("crm") {
		if !registration.Reaches(version, record.ResourceVersion) {
			version = record.ResourceVersion
		}
	}
	began := time.Now()
	eventually(t, "the revocation is in the Lease", func() bool {
		leases := registrations(t, p.Name)
		if len(leases) != 1 {
			return false
		}
		states := registration.Of(&leases[0])
		return registration.Reaches(states.ObservedOf(p.Name, "staging"), version)
	})
	t.Logf("the revocation is in the Lease after %s", time.Since(began))

	first := registrations(t, p.Name)[0]
	must(t, admin.Delete(t.Context(), &first))
	eventually(t, "the verifier registers under another name", func() bool {
		leases := registrations(t, p.Name)
		return len(leases) == 1 && leases[0].Name != first.Name && registration.Of(&leases[0]).Observed != nil
	})
	v.becomes("the revoked key", text, http.StatusUnauthorized)
	second := registrations(t, p.Name)[0]
	second.Annotations[v1alpha1.StoppedAnnotation] = time.Now().UTC().Format(time.RFC3339) // as a person may do, here by mistake
	must(t, admin.Update(t.Context(), &second))
	eventually(t, "the verifier registers under another name", func() bool { return len(registrations(t, p.Name)) == 2 })
	must(t, syscall.Kill(v.ProcessNumber(), syscall.SIGTERM))
	for answers := 0; ; answers++ {
		isStopped := isStopped(registrations(t, p.Name), second.Name)
		if code, _ := v.verify(text); code == 0 {
			if answers == 0 {
				t.Error("nothing is answered during the drain delay")
			}
			break
		}
		if isStopped {
			t.Fatal("the verifier answers after it has stated that it is stopped")
		}
	}
	v.ends()
	if !isStopped(registrations(t, p.Name), second.Name) {
		t.Error("the verifier has ended and does not state it")
	}
}

// TestRegistration_IsRejectedWithoutANamespace or a right: the process ends, and says what to do.
func TestRegistration_IsRejectedWithoutANamespace(t *testing.T) {
	var log bytes.Buffer
	program, err := world.StartVerifier(t.Context(), &log, "--drain-delay=0s", "--usage-namespace=nowhere")
	must(t, err)
	select {
	case <-program.Exited():
	case <-time.After(within):
		must(t, program.Kill())
		t.Error("the verifier does not end")
	}
	for _, want := range []string{"create, get and update on leases", "namespace nowhere (--usage-namespace)", "--register=false"} {
		if program.Err() == nil || !strings.Contains(log.String(), want) {
			t.Errorf("it ended with %v and does not say %q: %s", program.Err(), want, log.String())
		}
	}
}
