// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/testenv/controlplane"
	"dgbot.io/key-operator/internal/testenv/process"
)

const (
	// clockAhead is the variable by which a program with another clock learns by how much that is ahead.
	clockAhead = "CLOCK_AHEAD"
	// machineClock is the package by whose RealClock all code of the programs tells the time, as tests of the import rules check.
	machineClock = `"k8s.io/utils/clock"`
	// otherClock takes its place.
	otherClock = `package otherclock

import (
	"os"
	"time"

	machine "k8s.io/utils/clock"
)

type PassiveClock = machine.PassiveClock
type Clock = machine.Clock
type WithTicker = machine.WithTicker

type RealClock struct{ machine.RealClock }

var ahead, _ = time.ParseDuration(os.Getenv("` + clockAhead + `"))

func (c RealClock) Now() time.Time                   { return c.RealClock.Now().Add(ahead) }
func (c RealClock) Since(at time.Time) time.Duration { return c.Now().Sub(at) }
`
)

// built are the programs with another clock, by name.
var built = struct {
	sync.Mutex
	programs map[string]string
}{programs: map[string]string{}}

// withOtherClock builds a program whose clock is ahead by CLOCK_AHEAD, and returns its path. Only the compiler sees the other clock: nothing in what is
// shipped can set one.
func withOtherClock(t *testing.T, name string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if binary := built.programs[name]; binary != "" {
		return binary
	}
	folder, err := process.TempDir("clock")
	must(t, err)
	replaced, written := map[string]string{}, 0
	write := func(source, text string) {
		written++
		replaced[source] = filepath.Join(folder, fmt.Sprintf("%d.go", written))
		must(t, os.WriteFile(replaced[source], []byte(text), 0o600))
	}
	root := controlplane.Repository()
	write(filepath.Join(root, "internal", "otherclock", "clock.go"), otherClock)
	for _, top := range []string{"cmd", "controllers", "internal"} {
		must(t, filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(text), machineClock) {
				return err
			}
			write(path, strings.Replace(string(text), machineClock, `clock "dgbot.io/key-operator/internal/otherclock"`, 1))
			return nil
		}))
	}
	if written == 1 {
		t.Fatalf("no source file imports %s: no clock can be shifted", machineClock)
	}
	binary := filepath.Join(folder, name)
	must(t, controlplane.BuildWith(binary, name, replaced))
	built.programs[name] = binary
	return binary
}

// TestProof_OfAnEndWaitsForTheClocksOfVerifiers: the clock of one is behind, so that it accepts the key until its clock has
// reached the end.
func TestProof_OfAnEndWaitsForTheClocksOfVerifiers(t *testing.T) {
	const behind = 45 * time.Second
	for name, withdraw := range map[string]func(*v1alpha1.DGbotAPIKey){
		"expiresAt": func(k *v1alpha1.DGbotAPIKey) { k.Spec.ExpiresAt = &metav1.Time{Time: time.Now()} },
		"a rotation without overlap": func(k *v1alpha1.DGbotAPIKey) {
			k.Annotations = map[string]string{v1alpha1.RotateRequestedAtAnnotation: time.Now().UTC().Format(time.RFC3339)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTrial(t)
			p.manage(place{})
			p.issue()
			p.EditKey("leaked", func(k *v1alpha1.DGbotAPIKey) { k.Spec.Rotation.Overlap = &metav1.Duration{} })
			p.verify(place{})
			late := p.verify(place{ahead: -behind})
			began := time.Now().Truncate(time.Second) // an end has whole seconds
			p.EditKey("leaked", withdraw)
			p.Eventually("the status tells of the withdrawal", func() bool { return p.propagation() != nil })
			p.staysUnproven(behind - time.Since(began) - time.Second)
			if code := late.code(t.Context(), p.text); code != http.StatusOK {
				t.Errorf("the verifier whose clock is behind answers %d: nothing was tested", code)
			}
			p.awaitProof(soon)
		})
	}
}

// TestProof_CoversRequestsThatAreStillRead: the verdict is formed after a request was read completely.
func TestProof_CoversRequestsThatAreStillRead(t *testing.T) {
	p := startTrial(t)
	asked := p.verifiers[0]
	p.watch(soon) // so that the operator confirms at once
	connection, err := net.Dial("tcp", asked.Address)
	must(t, err)
	defer func() { _ = connection.Close() }()
	body := fmt.Sprintf(`{"key":%q}`, p.text)
	_, err = fmt.Fprintf(connection, "POST /v1/verify HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		asked.Address, len(body), body[:len(body)-1])
	must(t, err)
	p.withdraw()
	p.awaitProof(5 * time.Second) // the verifier waits no longer than 10 s for a body
	_, err = io.WriteString(connection, body[len(body)-1:])
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request that was complete after the proof is answered %d", response.StatusCode)
	}
}
