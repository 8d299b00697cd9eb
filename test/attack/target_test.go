// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// target is a listener of the verifier, and the address from which a client connects to it.
type target struct {
	address, from string
	// secured is set where the listener serves TLS.
	secured *tls.Config
}

func (to target) dial(ctx context.Context) (net.Conn, error) {
	connection, err := to.dialPlain(ctx)
	if err != nil || to.secured == nil {
		return connection, err
	}
	secured := tls.Client(connection, to.secured)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return secured, nil
}

func (to target) dialPlain(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(to.from)}, Timeout: 5 * time.Second}
	connection, err := dialer.DialContext(ctx, "tcp", to.address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = connection.Close() })
	return connection, nil
}

// halfHandshake begins a TLS handshake and does not finish it: the server has sent its certificate, and waits.
func halfHandshake(ctx context.Context, to target) error {
	connection, err := to.dialPlain(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	return tls.Client(&helloOnly{Conn: connection}, to.secured).HandshakeContext(ctx)
}

// helloOnly is a connection over which nothing is sent after the first message.
type helloOnly struct {
	net.Conn
	sent bool
}

func (c *helloOnly) Write(p []byte) (int, error) {
	if c.sent {
		_, err := io.Copy(io.Discard, c.Conn) // returns when the server closes the connection
		return 0, errors.Join(io.ErrClosedPipe, err)
	}
	c.sent = true
	return c.Conn.Write(p)
}
