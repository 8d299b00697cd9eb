// SPDX-License-Identifier: Apache-2.0

package connlimit

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

const (
	// http1Allowance is what a connection may hold of a request without asking the budget, in bytes: several times what a
	// request of a gateway has.
	http1Allowance = 12 << 10
	// lineCost is what net/http keeps for each line of a header beside its bytes. Without it, a header of lines of three bytes
	// would take many times the memory that was counted.
	lineCost = 160
	// longestWait bounds how long a connection waits for memory.
	longestWait = 10 * time.Second
)

// http1Connection counts what a request over HTTP/1 takes until it is answered.
type http1Connection struct {
	net.Conn
	account *Account
	// deadline is the one for reads in Unix nanoseconds; 0 for none. The wait for memory ends then as well.
	deadline atomic.Int64
}

// HTTP1 makes a server count what its unanswered requests take. It returns the listener to serve with. The connections of the
// listener must be those over which HTTP is spoken: with TLS, those of tls.NewListener.
func HTTP1(server *http.Server, listener net.Listener, budget *Budget) net.Listener {
	server.ConnState = func(connection net.Conn, state http.ConnState) {
		if counting, ok := connection.(*http1Connection); ok && state == http.StateIdle {
			counting.account.Reset()
		}
	}
	return http1Listener{listener, budget}
}

type http1Listener struct {
	net.Listener
	budget *Budget
}

func (l http1Listener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &http1Connection{Conn: connection, account: l.budget.NewAccount(http1Allowance)}, nil
}

func (c *http1Connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 {
		answerPlainHTTP(err)
		return n, err
	}
	if exhausted := c.account.Take(n+lineCost*bytes.Count(p[:n], []byte{'\n'}), c.patience()); exhausted != nil {
		return 0, exhausted
	}
	return n, err
}

// answerPlainHTTP tells a client that spoke HTTP where TLS is expected what is wrong. net/http does so itself only for connections that it
// sees to be those of crypto/tls.
func answerPlainHTTP(err error) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return
	}
	switch string(header.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		_ = header.Conn.Close()
	}
}

func (c *http1Connection) patience() time.Duration {
	at := c.deadline.Load()
	if at == 0 {
		return longestWait
	}
	return min(time.Unix(0, at).Sub(clock.RealClock{}.Now()), longestWait)
}

func (c *http1Connection) SetDeadline(at time.Time) error {
	c.keep(at)
	return c.Conn.SetDeadline(at)
}

func (c *http1Connection) SetReadDeadline(at time.Time) error {
	c.keep(at)
	return c.Conn.SetReadDeadline(at)
}

func (c *http1Connection) keep(at time.Time) {
	if at.IsZero() {
		c.deadline.Store(0)
		return
	}
	c.deadline.Store(at.UnixNano())
}

// CloseWrite lets net/http end its side of a connection without resetting it.
func (c *http1Connection) CloseWrite() error { return closeWrite(c.Conn) }

func (c *http1Connection) Close() error {
	c.account.Close()
	return c.Conn.Close()
}
