// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRedactMasksKeysInTextsOfOthers(t *testing.T) {
	key, err := Mint("pre-production")
	if err != nil {
		t.Fatal(err)
	}
	text := key.Reveal()
	for said, want := range map[string]string{
		"no key here":                           "no key here",
		"denied: " + text + ".":                 "denied: " + key.Masked() + ".",
		text + text:                             key.Masked() + key.Masked(),
		`{"api-key":"` + text + `"}`:            `{"api-key":"` + key.Masked() + `"}`,
		"cut off: " + text[:len(text)-20]:       "cut off: " + key.Masked(),
		"already masked: " + key.Masked():       "already masked: " + key.Masked(),
		"an id alone: " + key.ID() + " is fine": "an id alone: " + key.ID() + " is fine",
	} {
		if got := Redact(said); got != want {
			t.Errorf("%q became %q, want %q", said, got, want)
		}
	}
}

func TestNoPrinterOrEncoderShowsTheSecret(t *testing.T) {
	key, err := Mint("production")
	if err != nil {
		t.Fatal(err)
	}
	text := key.Reveal()
	secret := text[len(text)-secretLength-checksumLength:]
	type holder struct {
		Key     Key
		Pointer *Key
		hidden  Key
		List    []Key
		Map     map[string]Key
	}
	h := holder{Key: key, Pointer: &key, hidden: key, List: []Key{key}, Map: map[string]Key{"k": key}}

	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%10.200s"} {
		shown["Sprintf "+verb] = fmt.Sprintf(verb, key)
		shown["Sprintf * "+verb] = fmt.Sprintf(verb, &key)
		shown["Sprintf struct "+verb] = fmt.Sprintf(verb, h)
	}
	shown["error"] = fmt.Errorf("wrapped: %w", errors.New(fmt.Sprint("key ", key))).Error()
	for name, encode := range map[string]func() ([]byte, error){
		"json": func() ([]byte, error) { return json.Marshal(h) },
		"xml":  func() ([]byte, error) { return xml.Marshal(key) },
		"gob": func() ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(key)
			return b.Bytes(), err
		},
	} {
		out, err := encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		shown[name] = string(out)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("minted", "key", key, "holder", h)
	slog.New(slog.NewTextHandler(&log, nil)).Info("minted", "key", key, "holder", h)
	shown["slog"] = log.String()
	shown["logr"] = fmt.Sprint(key.MarshalLog())

	for how, what := range shown {
		hexed := strings.Contains(strings.ToLower(what), fmt.Sprintf("%x", secret))
		if strings.Contains(what, secret) || strings.Contains(what, secret[:10]) || hexed {
			t.Errorf("%s shows the secret: %s", how, what)
		}
	}
	for _, how := range []string{"Sprintf %v", "Sprintf %#v", "json", "slog", "logr", "error"} {
		if !strings.Contains(shown[how], key.Masked()) {
			t.Errorf("%s does not show the masked form: %s", how, shown[how])
		}
	}
}

func TestTheZeroKeyIsNoKey(t *testing.T) {
	var key Key
	if key.Reveal() != "" || key.String() != "no key" {
		t.Fatalf("got %q, %q", key.Reveal(), key)
	}
}
