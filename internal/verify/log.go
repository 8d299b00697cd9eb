// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"

	"github.com/go-logr/logr"
)

// maxText is the largest length in bytes of a text in the log of a source. Its API server chooses names, messages and versions.
const maxText = 1024

// withShortTexts returns a log that cuts texts and errors at maxText.
func withShortTexts(log logr.Logger) logr.Logger {
	if log.GetSink() == nil {
		return log
	}
	return log.WithSink(shortTexts{log.GetSink()})
}

type shortTexts struct{ logr.LogSink }

func (s shortTexts) Info(level int, message string, values ...any) {
	s.LogSink.Info(level, message, cutAll(values)...)
}

func (s shortTexts) Error(err error, message string, values ...any) {
	if err != nil {
		err = errors.New(cut(err.Error()))
	}
	s.LogSink.Error(err, message, cutAll(values)...)
}

func (s shortTexts) WithValues(values ...any) logr.LogSink {
	return shortTexts{s.LogSink.WithValues(cutAll(values)...)}
}

func (s shortTexts) WithName(name string) logr.LogSink { return shortTexts{s.LogSink.WithName(name)} }

func cutAll(values []any) []any {
	short := make([]any, len(values))
	for i, value := range values {
		if text, ok := value.(string); ok {
			value = cut(text)
		}
		short[i] = value
	}
	return short
}

func cut(text string) string { return text[:min(len(text), maxText)] }
