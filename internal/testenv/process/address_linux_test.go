// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestFreeAddress_IsReserved for the program that listens on it, before it listens and after it has ended.
func TestFreeAddress_IsReserved(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		connection, err := (&net.Dialer{LocalAddr: local}).DialContext(t.Context(), "tcp", server.Addr().String())
		if err == nil {
			_ = connection.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("an outgoing connection from %s: %v, want %v", address, err, syscall.EADDRINUSE)
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("the program cannot listen: %v", err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFreeAddress_IsGivenOnce: no address is among those that this process reserved, or that the kernel chooses for a listener.
func TestFreeAddress_IsGivenOnce(t *testing.T) {
	const count = 300
	given := map[string]bool{}
	for range count {
		address, err := FreeAddress()
		if err != nil {
			t.Fatal(err)
		}
		given[address] = true
	}
	for range count {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		given[listener.Addr().String()] = true
	}
	if len(given) != 2*count {
		t.Errorf("%d different addresses, want %d", len(given), 2*count)
	}
}
