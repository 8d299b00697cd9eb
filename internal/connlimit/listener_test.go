// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

func from(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", n)) }

func TestListener_KeepsRoomForOtherAddresses(t *testing.T) {
	l := Listen(nil, 160, nil)
	fill := func(address netip.Addr) (admitted int) {
		for l.admit(address) {
			admitted++
		}
		return admitted
	}
	if n := fill(from(1)); n != 80 {
		t.Errorf("one address gets %d of 160", n)
	}
	if n := fill(from(2)); n != 20 {
		t.Errorf("another then gets %d", n)
	}
	for i := 3; l.open < 150; i++ {
		fill(from(i))
	}
	if fill(from(1)) > 0 || fill(from(2)) > 0 {
		t.Error("an address with connections gets one of the last")
	}
	for i := range 10 {
		if !l.admit(from(100 + i)) {
			t.Errorf("address %d gets none", i)
		}
	}
	if l.admit(from(200)) || l.open != 160 {
		t.Errorf("%d of 160 are open", l.open)
	}
	for range 80 {
		l.leave(from(1))
	}
	if !l.admit(from(1)) || l.open != 81 {
		t.Error("there is no room after others have left")
	}
	if _, kept := l.from[from(1)]; !kept {
		t.Error("the address is not counted")
	}
	l.leave(from(1))
	if _, kept := l.from[from(1)]; kept {
		t.Error("an address without connections is remembered")
	}
}

func TestListener_ClosesFurtherConnections(t *testing.T) {
	accepting, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rejected := make(chan struct{}, 10)
	l := Listen(accepting, 2, func() { rejected <- struct{}{} })
	t.Cleanup(func() { _ = l.Close() })
	accepted := make(chan net.Conn)
	go func() {
		for {
			connection, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- connection
		}
	}()
	dial := func() net.Conn {
		connection, err := net.Dial("tcp", accepting.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		return connection
	}
	first := dial()
	server := <-accepted
	second := dial()
	<-rejected
	if n, err := second.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a connection over the limit is not closed")
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n, _ := first.Read(make([]byte, 1)); n != 1 || l.Open() != 1 {
		t.Errorf("the first connection does not live on, %d open", l.Open())
	}
	_ = server.Close()
	_ = server.Close() // counts once
	dial()
	again := <-accepted
	if l.Open() != 1 {
		t.Errorf("%d open", l.Open())
	}
	_ = again.Close()
}
