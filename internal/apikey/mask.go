// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"fmt"
	"io"
)

// A value reaches a log, an error or an encoder through one of these methods. They mask the key by type, so that no caller has to mask it.

// Masked returns dgbot_<environment>_<id>_…, the only form that is ever shown.
func (k Key) Masked() string {
	if k.text == nil {
		return "no key"
	}
	return Prefix + k.environment + "_" + k.id + "_…"
}

// String implements fmt.Stringer with the masked form.
func (k Key) String() string { return k.Masked() }

// GoString implements fmt.GoStringer (%#v) with the masked form.
func (k Key) GoString() string { return k.Masked() }

// Format implements fmt.Formatter with the masked form for every verb.
func (k Key) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, k.Masked()) }

// MarshalText implements encoding.TextMarshaler, and with it JSON, YAML and XML encoders and the handlers of log/slog,
// with the masked form. A LogValue for slog would add nothing but an import of a logging package.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.Masked()), nil }

// MarshalBinary implements encoding.BinaryMarshaler (gob among others) with the masked form.
func (k Key) MarshalBinary() ([]byte, error) { return []byte(k.Masked()), nil }

// MarshalLog implements logr.Marshaler with the masked form.
func (k Key) MarshalLog() any { return k.Masked() }
