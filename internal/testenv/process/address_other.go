// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package process

import "net"

// FreeAddress returns an address on this machine on which no program listens at present. Another program may take it before the
// caller's program listens: no way to reserve it is known that works on all systems other than Linux.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
