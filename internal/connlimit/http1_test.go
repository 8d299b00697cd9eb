// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestHTTP1_CountsARequestUntilItIsAnswered also covers lines, and a connection that is used again.
func TestHTTP1_CountsARequestUntilItIsAnswered(t *testing.T) {
	const size = 1 << 20
	b := NewBudget(size)
	during := make(chan int, 1)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { during <- size - b.Free() })}
	accepting, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(HTTP1(server, accepting, b)) }()
	t.Cleanup(func() { _ = server.Close() })
	client, err := net.Dial("tcp", accepting.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(client)
	for _, lines := range []int{10, 200, 20} {
		request := "GET / HTTP/1.1\r\nHost: v\r\n" + strings.Repeat("a: b\r\n", lines) + "\r\n"
		if _, err := io.WriteString(client, request); err != nil {
			t.Fatal(err)
		}
		want := max(0, len(request)+(lines+3)*lineCost-http1Allowance)
		// The first byte may have been read, and given back, with the answer before.
		if took := <-during; took != want && took != want-1 {
			t.Errorf("%d lines take %d bytes, want %d", lines, took, want)
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	if _, err := fmt.Fprintf(client, "GET / HTTP/1.1\r\n%s", strings.Repeat("a: b\r\n", 200)); err != nil {
		t.Fatal(err)
	}
	await(t, "an unfinished request takes memory", func() bool { return b.Free() < size })
	_ = client.Close()
	await(t, "a connection that ended takes none", func() bool { return b.Free() == size })
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// TestHTTP1_WaitsNoLongerThanTheDeadline: the time for a header bounds the wait for memory as well.
func TestHTTP1_WaitsNoLongerThanTheDeadline(t *testing.T) {
	client, server := net.Pipe()
	c := &http1Connection{Conn: server, account: NewBudget(0).NewAccount(0)}
	go func() { _, _ = io.WriteString(client, "GET") }()
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := c.Read(make([]byte, 10)); err == nil || time.Since(began) > longestWait/2 {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
