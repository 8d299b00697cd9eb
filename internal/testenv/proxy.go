// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy leads to an API server. While it is cut, it accepts no connection and has none.
type Proxy struct {
	// Address is where it listens, and Target where it leads.
	Address, Target string

	mutex       sync.Mutex
	listener    net.Listener
	connections []net.Conn
}

// NewProxy returns an open Proxy to the API server of a World, which is cut at the end of the test.
func (w *World) NewProxy(t *testing.T) *Proxy {
	t.Helper()
	target := w.Config.Host
	if server, err := url.Parse(target); err == nil && server.Host != "" {
		target = server.Host
	}
	p := &Proxy{Address: FreeAddress(t), Target: target}
	p.Open(t)
	t.Cleanup(p.Cut)
	return p
}

// Open accepts connections again.
func (p *Proxy) Open(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", p.Address)
	Must(t, err)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.listener = listener
	go p.serve(listener)
}

func (p *Proxy) serve(listener net.Listener) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.Target)
		if err != nil {
			_ = from.Close()
			continue
		}
		if !p.keep(listener, from, to) {
			return
		}
		for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			}()
		}
	}
}

// keep notes a connection. It closes one that was accepted before a cut, which it reports by false.
func (p *Proxy) keep(listener net.Listener, from, to net.Conn) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.listener != listener {
		_, _ = from.Close(), to.Close()
		return false
	}
	p.connections = append(p.connections, from, to)
	return true
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for _, connection := range p.connections {
		_ = connection.Close()
	}
	p.connections = nil
}
