// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// FreeAddress returns an address on this machine that a program may listen on. The address stays reserved until this process ends:
// the kernel gives its port neither to an outgoing connection nor to a listener on port 0, which could otherwise take it before the
// program listens.
//
// The reservation is a socket that is bound and never listens. Linux lets another socket listen on the same port if both have
// SO_REUSEADDR, which Go sets for every listener.
func FreeAddress() (string, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	address, err := bind(socket)
	if err != nil {
		return "", errors.Join(err, syscall.Close(socket))
	}
	return address, nil
}

func bind(socket int) (string, error) {
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return "", err
	}
	loopback := [4]byte{127, 0, 0, 1}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: loopback}); err != nil {
		return "", err
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		return "", err
	}
	bound, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("the socket is bound to an address of type %T, not to one of IPv4", name)
	}
	return net.JoinHostPort(net.IP(loopback[:]).String(), strconv.Itoa(bound.Port)), nil
}
