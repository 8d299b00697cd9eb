// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"slices"
	"strings"

	"dgbot.io/key-operator/api/v1alpha1"
)

// requireGateway lets requests through that a gateway has let through, with a key that has the scope. Only gateways may reach this API: it
// takes their headers as they are. A request without X-DGbot-Key-ID is denied: it has come past the gateway, or a client has named the header
// in Connection, so that a proxy took it out. Missing scopes are no scopes, never all.
func requireGateway(scope string, next func(http.ResponseWriter, *http.Request, caller)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by := caller{KeyID: only(r, "X-DGbot-Key-ID"), Environment: only(r, "X-DGbot-Environment"), Scopes: strings.Fields(only(r, "X-DGbot-Scopes"))}
		switch {
		case by.KeyID == "" || by.Environment == "":
			http.Error(w, "the request has not passed the gateway", http.StatusForbidden)
		case !slices.ContainsFunc(by.Scopes, func(has string) bool { return v1alpha1.Scope(has).Covers(v1alpha1.Scope(scope)) }):
			http.Error(w, "the key lacks the scope "+scope, http.StatusForbidden)
		default:
			next(w, r, by)
		}
	})
}

// only returns the value of a header; empty where it is there more than once, for one of the values is not the gateway's.
func only(r *http.Request, name string) string {
	if values := r.Header.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}
