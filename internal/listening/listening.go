// SPDX-License-Identifier: Apache-2.0

// Package listening explains why a program cannot listen on an address.
package listening

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Explain adds to the error of a failed listener which flag gave the address, and what to do. It returns every other error, and nil,
// as it is: a program that serves fails for other reasons, too.
func Explain(flag, address string, err error) error {
	failed := (*net.OpError)(nil)
	if !errors.As(err, &failed) || failed.Op != "listen" {
		return err
	}
	return fmt.Errorf("--%s %s: %w; %s", flag, address, err, advice(err))
}

func advice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop the process that uses this port, or name another port, or 0 for no listener"
	case errors.Is(err, syscall.EACCES):
		return "this user may not use ports below 1024: name a higher port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address: leave the host out, as in :8080, to listen on all addresses"
	}
	return "want <host>:<port> or :<port>, or 0 for no listener"
}
