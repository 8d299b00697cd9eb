// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// http1Attacks are what a client without a key can do to the HTTP listener. Each runs on one connection until it fails.
var http1Attacks = map[string]func(ctx context.Context, to target) error{
	"idle connections": func(ctx context.Context, to target) error {
		return slowly(ctx, to, "POST /v1/verify HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n", "", 0)
	},
	"headers that never end": func(ctx context.Context, to target) error {
		return slowly(ctx, to, unfinishedHeader(), "a:\n", 500*time.Millisecond)
	},
	"bodies that never end": func(ctx context.Context, to target) error {
		start := "POST /v1/identity/verify HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
		return slowly(ctx, to, start+strings.Repeat("1\r\nx\r\n", 15<<10), "1\r\nx\r\n", 500*time.Millisecond)
	},
	"a body that lacks its end": func(ctx context.Context, to target) error {
		start := "POST /v1/identity/verify HTTP/1.1\r\nHost: v\r\nContent-Length: 65536\r\n\r\n"
		return slowly(ctx, to, start+strings.Repeat("x", 60<<10), "x", 500*time.Millisecond)
	},
	"pipelined requests whose answers are not read": func(ctx context.Context, to target) error {
		request := "POST /v1/verify HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n"
		return slowly(ctx, to, request, strings.Repeat(request, 1000), time.Millisecond)
	},
	"HTTP/2 without TLS": func(ctx context.Context, to target) error {
		return slowly(ctx, to, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x00\x04\x00\x00\x00\x00\x00", 100*time.Millisecond)
	},
}

// unfinishedHeader is the start of a request with as many short lines as a header may have. It is made once: hundreds of clients that each
// make it again take the processors from the verifier, which then closes connections faster than they are opened.
var unfinishedHeader = sync.OnceValue(func() string {
	var start bytes.Buffer
	start.WriteString("POST /v1/verify HTTP/1.1\r\nHost: v\r\n")
	for i := 0; start.Len() < 60<<10; i++ {
		_, _ = fmt.Fprintf(&start, "%x:\n", i)
	}
	return start.String()
})

// slowly sends the start of a request at once, and more again and again, until the server closes the connection. It reads nothing.
func slowly(ctx context.Context, to target, start, more string, pause time.Duration) error {
	connection, err := to.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	if _, err := io.WriteString(connection, start); err != nil {
		return err
	}
	for ctx.Err() == nil && more != "" {
		rest(ctx, pause)
		if _, err := io.WriteString(connection, more); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, connection)
	return err
}
