// SPDX-License-Identifier: Apache-2.0

package read

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/lifecycle/report"
)

var secrets = schema.GroupResource{Resource: "secrets"}

func TestGet_TellsAbsenceFromFailure(t *testing.T) {
	lost := errors.New("connection lost")
	stored := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "support", Name: "dgbot-crm"}}
	reader := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(stored).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			if name.Name == "unreadable" {
				return lost
			}
			return c.Get(ctx, name, into, options...)
		},
	})
	for name, test := range map[string]struct {
		found bool
		err   error
	}{"dgbot-crm": {true, nil}, "absent": {false, nil}, "unreadable": {false, lost}} {
		found, err := Get(t.Context(), reader, types.NamespacedName{Namespace: "support", Name: name}, &corev1.Secret{})
		if found != test.found || !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
			t.Errorf("%s: found %t, %v; want %t, %v", name, found, err, test.found, test.err)
		}
	}
}

// TestBounded_EndsAReadThatHangs: a KMS that does not answer must not delay a revocation.
func TestBounded_EndsAReadThatHangs(t *testing.T) {
	var left time.Duration
	err := Bounded(t.Context(), func(ctx context.Context) error {
		end, ok := ctx.Deadline()
		if !ok {
			return errors.New("no deadline")
		}
		left = time.Until(end)
		return nil
	})
	if err != nil || left <= 0 || left > readTimeout {
		t.Errorf("the read has %s left, %v; want at most %s", left, err, readTimeout)
	}
}

// noted returns the failures of an observation in which one read failed.
func noted(err error) *Failures {
	f := &Failures{}
	f.Note(report.ReadSecret, err)
	return f
}

func TestFailures_KeepTheLastOutcomeOfAPart(t *testing.T) {
	first, second, other := errors.New("first"), errors.New("second"), errors.New("other")
	f := noted(first)
	f.Note(report.ReadSecret, second)
	f.Note(report.ReadKeys, other)
	if len(f.Reads) != 2 || errors.Is(f.Err(), first) || !errors.Is(f.Err(), second) || !errors.Is(f.Err(), other) {
		t.Errorf("failures %v, error %v; want those that failed last, of each part", f.Reads, f.Err())
	}
	f.Note(report.ReadSecret, nil)
	if len(f.Reads) != 1 || errors.Is(f.Err(), second) {
		t.Errorf("failures %v after the read succeeded", f.Reads)
	}
	f.Note(report.ReadKeys, nil)
	if f.Err() != nil || len(f.Reads) != 0 || f.Transient() {
		t.Errorf("error %v although each read succeeded", f.Err())
	}
}

func TestWrap_NamesWhatWasRead(t *testing.T) {
	if err := Wrap(nil, "Secret %q", "dgbot-crm"); err != nil {
		t.Errorf("a read that succeeded is an error: %v", err)
	}
	cause := errors.New("connection lost")
	err := Wrap(cause, "Secret %q", "dgbot-crm")
	if !errors.Is(err, cause) || err.Error() != `reading Secret "dgbot-crm": connection lost` {
		t.Errorf("error %q", err)
	}
	if got := noted(fmt.Errorf("observing: %w", err)).Reads[0].What; got != `Secret "dgbot-crm"` {
		t.Errorf("the failure is about %q", got)
	}
	if got := noted(cause).Reads[0].What; got != "the "+string(report.ReadSecret) {
		t.Errorf("the failure of a read without a name is about %q", got)
	}
}

// TestFailures_SayTheSameEachTime: a message that differs each time would be a change of the status, and an event, for each attempt.
func TestFailures_SayTheSameEachTime(t *testing.T) {
	dial := func(port int) error {
		return &net.OpError{
			Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port}, Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 443}, Err: syscall.ECONNRESET,
		}
	}
	first, second := noted(Wrap(dial(40001), "the records")).Reads[0].Message, noted(Wrap(dial(40002), "the records")).Reads[0].Message
	if first != second || !strings.Contains(first, "10.0.0.2:443") {
		t.Errorf("%q and %q, want the same, with the address of the API server", first, second)
	}
	key, err := apikey.Mint("production")
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"an answer": apierrors.NewForbidden(secrets, "x", errors.New("a webhook was shown "+key.Reveal())), "an error": errors.New("cannot decode " + key.Reveal()),
	} {
		if got := noted(err).Reads[0].Message; strings.Contains(got, key.Reveal()) {
			t.Errorf("%s: the message has the key text", name)
		}
	}
}

// TestFailures_AreTransientIfTheAPIServerDidNotAnswer, and have a remedy in any case.
func TestFailures_AreTransientIfTheAPIServerDidNotAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		transient bool
		remedy    string
	}{
		"a lost connection":                   {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true, "API server answers"},
		"a deadline":                          {context.DeadlineExceeded, true, "API server answers"},
		"an overloaded API server":            {apierrors.NewTooManyRequests("wait", 1), true, "API server answers"},
		"a proxy that gives up":               {&apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusGatewayTimeout}}, true, "API server answers"},
		"an API server that stops":            {apierrors.NewServiceUnavailable("shutting down"), true, "API server answers"},
		"a timeout of etcd":                   {apierrors.NewServerTimeout(secrets, "get", 1), true, "API server answers"},
		"an expired token":                    {apierrors.NewUnauthorized("expired"), true, "API server answers"},
		"a missing right":                     {apierrors.NewForbidden(secrets, "x", errors.New("no right")), false, "service account"},
		"an object that a KMS cannot decrypt": {apierrors.NewInternalError(errors.New("kms")), false, "KMS"},
	} {
		t.Run(name, func(t *testing.T) {
			f := noted(Wrap(test.err, "the Secret"))
			if f.Transient() != test.transient || !strings.Contains(f.Reads[0].Remedy, test.remedy) {
				t.Errorf("transient: %t, remedy %q; want %t and %q", f.Transient(), f.Reads[0].Remedy, test.transient, test.remedy)
			}
			f.Note(report.ReadKeys, apierrors.NewForbidden(secrets, "y", errors.New("no right")))
			if f.Transient() {
				t.Error("transient although another read was answered")
			}
		})
	}
}
