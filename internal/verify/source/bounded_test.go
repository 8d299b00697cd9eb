// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// answering answers each request with a body of a content type.
type answering struct {
	kind string
	body io.Reader
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {a.kind}}, Body: io.NopCloser(a.body)}, nil
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBoundedAnswers_EndWhereAnObjectIsTooLarge(t *testing.T) {
	const list, stream = "https://eu/apis/x", "https://eu/apis/x?watch=true"
	object := `{"type":"ADDED","object":{"metadata":{"name":"a,{[\\\"}]"},"spec":{"scopes":["a","b"]}}}` + "\n"
	for name, tc := range map[string]struct {
		url, body string
		want      bool
	}{
		"a list":                         {list, `{"items":[` + strings.Repeat(`{},`, 1000) + `{}]}`, true},
		"a list of empty objects":        {list, `{"items":[` + strings.Repeat(`{},`, maxAnswerValues) + `{}]}`, false},
		"a long text":                    {list, `{"a":"` + strings.Repeat("x", maxAnswer) + `"}`, false},
		"many objects of a watch":        {stream, strings.Repeat(object, 2*maxObject/len(object)), true},
		"an object of empty ones":        {stream, `{"object":{"metadata":{"ownerReferences":[` + strings.Repeat(`{},`, maxObjectValues) + `{}]}}}`, false},
		"the same on many lines":         {stream, `{"object":{"metadata":{"ownerReferences":[` + strings.Repeat("{},\n", maxObjectValues) + `{}]}}}`, false},
		"a long text in an object":       {stream, `{"object":"` + strings.Repeat("x", maxObject) + `"}`, false},
		"braces in texts end no object":  {stream, `{"a":[` + strings.Repeat(`"}]}",`, maxObjectValues) + `""]}`, false},
		"an escaped quote ends no text":  {stream, `{"a":[` + strings.Repeat(`"\"}]}",`, maxObjectValues) + `""]}`, false},
		"white space that does not end":  {stream, strings.Repeat(" ", maxObject+1), false},
		"a watch without any object yet": {stream, "", true},
	} {
		for reads, reader := range map[string]io.Reader{"at once": strings.NewReader(tc.body), "by bytes": iotest.OneByteReader(strings.NewReader(tc.body))} {
			answer, err := boundedAnswers{answering{"application/json", reader}}.RoundTrip(request(t, tc.url))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = io.Copy(io.Discard, answer.Body); errors.Is(err, errTooLarge) == tc.want {
				t.Errorf("%s, read %s: %v, want that it is read: %t", name, reads, err, tc.want)
			}
			_ = answer.Body.Close()
		}
	}
}

// TestBoundedAnswers_AreNotRedirected: the API server would choose where the verifier sends a request.
func TestBoundedAnswers_AreNotRedirected(t *testing.T) {
	for code := 300; code < 400; code++ {
		answer, err := boundedAnswers{failing(code)}.RoundTrip(request(t, "https://eu/apis/x"))
		if err == nil {
			t.Errorf("%d is taken", code)
			_ = answer.Body.Close()
		}
	}
	// A failure is in the log.
	answer, err := boundedAnswers{failing(500)}.RoundTrip(request(t, "https://eu/apis/x?watch=true"))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, answer.Body); !errors.Is(err, errTooLarge) || n > maxFailure {
		t.Errorf("%d bytes of a failure, %v", n, err)
	}
	_ = answer.Body.Close()
}

// failing is the code of answers with a long text.
type failing int

func (f failing) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: int(f), Header: http.Header{"Content-Type": {"text/plain"}, "Location": {"http://127.0.0.1/quit"}},
		Body: io.NopCloser(iotest.HalfReader(strings.NewReader(strings.Repeat("x", maxAnswer)))),
	}, nil
}

// TestBoundedAnswers_AreJSON: values of another form are not counted.
func TestBoundedAnswers_AreJSON(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/json": true, "application/json;charset=utf-8": true, "application/vnd.kubernetes.protobuf": false, "application/cbor": false,
		"application/yaml": false, "text/plain": false, "": false,
	} {
		answer, err := boundedAnswers{answering{kind, strings.NewReader("{}")}}.RoundTrip(request(t, "https://eu/apis/x"))
		if (err == nil) != want {
			t.Errorf("%q: %v", kind, err)
		}
		if err == nil {
			_ = answer.Body.Close()
		}
	}
}
