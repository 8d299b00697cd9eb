// SPDX-License-Identifier: Apache-2.0

// Package dashboard is the verb that shows keys on a live page in the browser. The page is served on the loopback interface of this machine, with
// the rights of the user, and reads DGbotAPIKeys only: it can show no secret, because it never has one.
//
//	dashboard.go   the verb
//	keys.go        the keys as an informer has them, and when they changed
//	view.go        what the page shows of them
//	serve.go       the page and its stream of views, for the browser that was given the address
package dashboard
