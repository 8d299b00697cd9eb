// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// httpAsker sends requests that were written beforehand on one connection. net/http's client takes more of the processor than
// the servers do, and would hide what is between them.
type httpAsker struct {
	connection net.Conn
	answers    *bufio.Reader
	requests   [][]byte
}

// verifyRequest asks as a service does that verifies a key itself.
func verifyRequest(text string) []byte {
	return fmt.Appendf(nil, "POST /v1/verify HTTP/1.1\r\nHost: verifier\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", text)
}

// checkRequest asks as NGINX does for a request of a browser or a library.
func checkRequest(text string) []byte {
	return fmt.Appendf(nil, "GET /check HTTP/1.1\r\nHost: api.example.com\r\nX-Forwarded-For: 203.0.113.7\r\nX-Original-URI: /v1/conversations?limit=20\r\n"+
		"User-Agent: python-requests/2.32.3\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\nX-Request-ID: 6b1f3c0a\r\n"+
		"X-DGbot-Required-Scopes: conversations.read\r\nAuthorization: Bearer %s\r\n\r\n", text)
}

// askOverHTTP returns how to connect to an address, for the same request with each of the keys.
func askOverHTTP(address string, request func(text string) []byte, texts []string) dial {
	requests := make([][]byte, len(texts))
	for i, text := range texts {
		requests[i] = request(text)
	}
	return func(ctx context.Context, _ int) (asker, error) {
		connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return &httpAsker{connection, bufio.NewReader(connection), requests}, err
	}
}

func (a *httpAsker) ask(_ context.Context, i int) error {
	if _, err := a.connection.Write(a.requests[i%len(a.requests)]); err != nil {
		return err
	}
	line, err := a.answers.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the server answers a good key with %q", line)
	}
	length := 0
	for {
		line, err := a.answers.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == len("\r\n") {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		} else if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			return errors.New("the server answers in chunks, which is not read here")
		}
	}
	_, err = io.CopyN(io.Discard, a.answers, int64(length))
	return err
}

func (a *httpAsker) close() error { return a.connection.Close() }
