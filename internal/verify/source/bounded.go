// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
)

// foreignPage is the number of records in a page of a list of another cluster that does not stream lists.
const foreignPage = 100

// The largest sizes of what the API server of another cluster sends: of an object of a watch, of a failure, whose text the log contains, and of any
// other answer. Values are those of JSON. A value of two bytes can take hundreds in memory, so that bytes alone bound too little. A record has about
// two kilobytes and a hundred values.
const (
	maxObject       = 256 << 10
	maxObjectValues = 8 << 10
	maxFailure      = 16 << 10
	maxAnswer       = 8 << 20
	maxAnswerValues = 50_000
)

var errTooLarge = errors.New("the API server sent an object that is larger than records are")

// boundedAnswers bounds what an API server that is not the verifier's own sends. client-go reads an answer, or an object of a watch, as a whole.
type boundedAnswers struct{ next http.RoundTripper }

func (b boundedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode/100 == 3 {
		_ = answer.Body.Close()
		return nil, fmt.Errorf("the API server answered with %d, a redirect: it would have the verifier send requests to other servers", answer.StatusCode)
	}
	// Values can be counted in JSON only, which is what is asked for. Some failures are text, which is not decoded.
	kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	isText := answer.StatusCode >= http.StatusBadRequest && (kind == "" || kind == "text/plain")
	if kind != runtime.ContentTypeJSON && !isText {
		_ = answer.Body.Close()
		return nil, errors.Join(fmt.Errorf("the API server answered with the content type %q instead of JSON", kind), err)
	}
	body := &boundedBody{ReadCloser: answer.Body, most: size{maxAnswer, maxAnswerValues}}
	switch isWatch := r.URL.Query().Get("watch") != ""; {
	case answer.StatusCode >= http.StatusBadRequest:
		body.most = size{maxFailure, maxObjectValues}
	case isWatch:
		body.most, body.isStream = size{maxObject, maxObjectValues}, true
	}
	answer.Body = body
	return answer, nil
}

// size is a size of JSON.
type size struct{ bytes, values int }

// boundedBody fails once an answer or, of a stream, one of its objects is too large.
type boundedBody struct {
	io.ReadCloser
	most     size
	isStream bool

	has size
	// depth is the number of objects and arrays that are open. Only their ends delimit the objects of a stream: lines can end within them.
	depth               int
	inString, isEscaped bool
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for _, c := range p[:n] {
		b.count(c)
		if b.has.bytes > b.most.bytes || b.has.values > b.most.values {
			return 0, errTooLarge
		}
	}
	return n, err
}

func (b *boundedBody) count(c byte) {
	b.has.bytes++
	switch {
	case b.isEscaped:
		b.isEscaped = false
	case b.inString:
		b.isEscaped, b.inString = c == '\\', c != '"'
	case c == '"':
		b.inString = true
	case c == ',':
		b.has.values++
	case c == '{', c == '[':
		b.has.values++
		b.depth++
	case c == '}', c == ']':
		if b.depth--; b.depth <= 0 && b.isStream {
			b.has = size{}
		}
	}
}
