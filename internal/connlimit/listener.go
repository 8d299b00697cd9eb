// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"net"
	"net/netip"
	"sync"
)

// Listener accepts at most a number of connections at once. It closes further ones at once and leaves the existing ones alone.
//
// A single client cannot take all of them: once half are open, a client address that has an eighth of them gets no more, and
// the last sixteenth is kept for addresses that have none. So the probes of the kubelet, which would restart the server, still
// get through while another address opens as many connections as it can.
type Listener struct {
	net.Listener
	limit int
	// rejected is called for each connection that was closed because of the limit.
	rejected func()

	mutex sync.Mutex
	open  int
	from  map[netip.Addr]int
}

// Listen wraps a listener. rejected is called for each connection that is closed because of the limit; it must not block.
func Listen(listener net.Listener, limit int, rejected func()) *Listener {
	return &Listener{Listener: listener, limit: limit, rejected: rejected, from: map[netip.Addr]int{}}
}

// Open returns how many connections are open.
func (l *Listener) Open() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.open
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		shrink(connection)
		from := addressOf(connection)
		if l.admit(from) {
			return &counted{Conn: connection, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		l.rejected()
		_ = connection.Close()
	}
}

// socketBuffer is the size in bytes of the system's buffers for each connection. By default the system lets them grow to several
// megabytes, which count against the memory limit of the container.
const socketBuffer = 32 << 10

// shrink bounds the system's buffers. A connection on which that fails has those of the system.
func shrink(connection net.Conn) {
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(socketBuffer)
		_ = tcp.SetWriteBuffer(socketBuffer)
	}
}

// addressOf returns the address of the client without its port. Clients of which it is not known count as one.
func addressOf(connection net.Conn) netip.Addr {
	if from, ok := connection.RemoteAddr().(*net.TCPAddr); ok {
		return from.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// admit counts a connection if there is room for it.
func (l *Listener) admit(from netip.Addr) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	kept, share := (l.limit+15)/16, max(l.limit/8, 1)
	switch its := l.from[from]; {
	case l.open >= l.limit,
		l.open >= l.limit-kept && its > 0,
		l.open >= l.limit/2 && its >= share:
		return false
	}
	l.open++
	l.from[from]++
	return true
}

func (l *Listener) leave(from netip.Addr) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.open--
	if l.from[from]--; l.from[from] == 0 {
		delete(l.from, from)
	}
}

// counted is a connection that makes room when it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite lets net/http end its side of a connection without resetting it.
func (c *counted) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(connection net.Conn) error {
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
