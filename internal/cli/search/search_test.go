// SPDX-License-Identifier: Apache-2.0

package search

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"dgbot.io/key-operator/internal/apikey"
	"dgbot.io/key-operator/internal/cli/clitest"
)

// found returns the keys in what in holds.
func found(t *testing.T, in io.Reader) []Match {
	t.Helper()
	var all []Match
	if _, err := Keys(in, func(m Match) { all = append(all, m) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// foundWith returns what found returns. It uses a buffer again, where a test searches thousands of texts.
func foundWith(t *testing.T, in io.Reader, buffer []byte) []Match {
	t.Helper()
	var all []Match
	if _, err := searchIn(in, buffer, func(m Match) { all = append(all, m) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSearch_FindsWhatHasARightChecksum(t *testing.T) {
	key, other := clitest.Mint(t, "production"), clitest.Mint(t, "staging")
	wrong := withWrongChecksum(key)
	encode := base64.StdEncoding.EncodeToString
	for name, tc := range map[string]struct {
		data string
		want []string
	}{
		"nothing":              {"", nil},
		"alone":                {key, []string{key}},
		"at the end of a line": {"KEY=" + key + "\r\n", []string{key}},
		"two in one line":      {key + "," + other, []string{key, other}},
		"one twice":            {key + "\n" + key, []string{key, key}},
		"after an escape":      {`"\n` + key + `"`, []string{key}},
		"in JSON with base64":  {`{"api-key":"` + encode([]byte(key)) + `","x":"` + encode([]byte(other)) + `"}`, []string{key, other}},
		"base64 and a digit":   {strings.TrimRight(encode([]byte(key+"\n\n\n")), "=") + "A", []string{key}},
		"base64 for URLs":      {base64.RawURLEncoding.EncodeToString([]byte(key + "\n???>>>")), []string{key}},
		"base64 over lines":    {encode([]byte(key))[:76] + "\n" + encode([]byte(key))[76:] + "\n", []string{key}},
		"base64 in YAML":       {"api-key: " + encode([]byte(key))[:60] + "\r\n    " + encode([]byte(key))[60:] + "\r\nnext: line", []string{key}},
		"base64 before words":  {encode([]byte(key)) + "\nwords\nthat go on", []string{key}},
		"in a binary file":     {"\x7fELF\x00\x00" + key + "\x00" + other + "\x00", []string{key, other}},
		"a wrong checksum":     {wrong, nil},
		"cut off":              {key[:len(key)-1], nil},
		"one character more":   {key + "x", nil},
		"masked":               {apikey.Redact(key), nil},
		"base64 of half a key": {encode([]byte(key[:40])), nil},
		"a prefix before it":   {"dgbot_dgbot_" + key + " ZGdib3RfZGdib3Rf", []string{key}},
	} {
		for _, in := range []io.Reader{strings.NewReader(tc.data), iotest.OneByteReader(strings.NewReader(tc.data))} {
			var got []string
			for _, m := range found(t, in) {
				got = append(got, m.Key.Reveal())
				if (m.Line == 0) != strings.Contains(tc.data, "\x00") {
					t.Errorf("%s: line %d", name, m.Line)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("%s: %d found, want %d", name, len(got), len(tc.want))
			}
		}
	}
}

func TestSearch_ReturnsTheReadersError(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Keys(iotest.ErrReader(broken), func(Match) {}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// FuzzSearch checks that a key is found wherever it is inserted, and that what is found unencoded is at the reported offset.
func FuzzSearch(f *testing.F) {
	f.Add([]byte("dgbot_production_"), uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		key := clitest.Mint(t, "production")
		cut := int(at) % (len(data) + 1)
		data = append(append(append(bytes.Clone(data[:cut]), ' '), key+" "...), data[cut:]...)
		all := found(t, bytes.NewReader(data))
		ours := false
		for _, m := range all {
			ours = ours || m.Key.Reveal() == key
			if m.Key.Reveal() == key && m.Offset == int64(cut)+1 && !bytes.HasPrefix(data[m.Offset:], []byte(key)) {
				t.Errorf("at %d is something else", m.Offset)
			}
		}
		if !ours {
			t.Errorf("not found at %d of %d", cut, len(data))
		}
	})
}
