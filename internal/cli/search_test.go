// SPDX-License-Identifier: Apache-2.0

package cli

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
)

func mint(t *testing.T, environment string) string {
	t.Helper()
	key, err := apikey.Mint(environment)
	if err != nil {
		t.Fatal(err)
	}
	return key.Reveal()
}

func found(t *testing.T, in io.Reader) []match {
	t.Helper()
	var all []match
	if _, err := search(in, func(m match) { all = append(all, m) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSearch_FindsWhatHasARightChecksum(t *testing.T) {
	key, other := mint(t, "production"), mint(t, "staging")
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
				got = append(got, m.key.Reveal())
				if (m.line == 0) != strings.Contains(tc.data, "\x00") {
					t.Errorf("%s: line %d", name, m.line)
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
	if _, err := search(iotest.ErrReader(broken), func(match) {}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// FuzzSearch checks that a key is found wherever it is inserted, and that what is found unencoded is at the reported offset.
func FuzzSearch(f *testing.F) {
	f.Add([]byte("dgbot_production_"), uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		key := mint(t, "production")
		cut := int(at) % (len(data) + 1)
		data = append(append(append(bytes.Clone(data[:cut]), ' '), key+" "...), data[cut:]...)
		all := found(t, bytes.NewReader(data))
		ours := false
		for _, m := range all {
			ours = ours || m.key.Reveal() == key
			if m.key.Reveal() == key && m.offset == int64(cut)+1 && !bytes.HasPrefix(data[m.offset:], []byte(key)) {
				t.Errorf("at %d is something else", m.offset)
			}
		}
		if !ours {
			t.Errorf("not found at %d of %d", cut, len(data))
		}
	})
}
