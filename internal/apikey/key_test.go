// SPDX-License-Identifier: Apache-2.0

package apikey

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
)

type vectors struct {
	Valid []struct {
		Text        string `json:"text"`
		Environment string `json:"environment"`
		ID          string `json:"id"`
		Hash        string `json:"hash"`
		Masked      string `json:"masked"`
	} `json:"valid"`
	Invalid []struct {
		Text string `json:"text"`
		Why  string `json:"why"`
	} `json:"invalid"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Valid) < 5 || len(v.Invalid) < 20 {
		t.Fatalf("the vectors are incomplete: %d valid, %d invalid", len(v.Valid), len(v.Invalid))
	}
	return v
}

func TestParseAgreesWithTheVectors(t *testing.T) {
	v := readVectors(t)
	for _, want := range v.Valid {
		key, err := Parse(want.Text)
		if err != nil {
			t.Errorf("%s: %v", want.Text, err)
			continue
		}
		if key.Environment() != want.Environment || key.ID() != want.ID || key.Hash() != want.Hash || key.Masked() != want.Masked || key.Reveal() != want.Text {
			t.Errorf("%s: got environment %q, id %q, hash %q, masked %q", want.Text, key.Environment(), key.ID(), key.Hash(), key.Masked())
		}
	}
	for _, bad := range v.Invalid {
		if _, err := Parse(bad.Text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q (%s): got %v, want ErrMalformed", bad.Text, bad.Why, err)
		}
	}
}

func TestMintedKeysHaveThePublishedForm(t *testing.T) {
	form := regexp.MustCompile(`^dgbot_[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for _, environment := range []string{"production", "staging", "development", "a", "a1-b", strings.Repeat("e", 32)} {
		for range 200 {
			key, err := Mint(environment)
			if err != nil {
				t.Fatal(err)
			}
			text := key.Reveal()
			if !form.MatchString(text) || len(text) > MaxLength {
				t.Fatalf("%q does not have the published form", text)
			}
			if seen[text] || seen[key.ID()] {
				t.Fatalf("drawn twice: %s", key)
			}
			seen[text], seen[key.ID()] = true, true
			parsed, err := Parse(text)
			if err != nil || parsed.ID() != key.ID() || parsed.Environment() != environment || parsed.Hash() != key.Hash() {
				t.Fatalf("%s does not read back: %v", key, err)
			}
		}
	}
}

func TestMintRefusesEnvironmentsThatCannotStandInAKey(t *testing.T) {
	for _, environment := range []string{"", "Production", "1st", "-a", "a-", "a_b", "é", strings.Repeat("e", 33), "a b"} {
		if key, err := Mint(environment); err == nil {
			t.Errorf("%q: minted %s", environment, key)
		}
	}
}

// An io.Reader that counts up delivers every byte equally often, so that a fold (modulo bias) shows exactly.
type counting struct{ next byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

func TestDrawingFavoursNoCharacter(t *testing.T) {
	const n = 62 * 4 * 50
	// A whole number of rounds of 256 bytes gives each character exactly 4 times a round.
	drawn, err := drawBase62(&counting{}, n)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[rune]int{}
	for _, c := range drawn {
		counts[c]++
	}
	for _, c := range alphabet {
		if counts[c] != n/62 {
			t.Errorf("%c drawn %d times, want %d", c, counts[c], n/62)
		}
	}
}

func TestMintFailsWithTheGenerator(t *testing.T) {
	if _, err := mintFrom(bytes.NewReader(make([]byte, 10)), "production"); err == nil {
		t.Fatal("minted a key from 10 bytes")
	}
}

func TestEveryChangedCharacterIsNoticed(t *testing.T) {
	key, err := Mint("staging")
	if err != nil {
		t.Fatal(err)
	}
	text := key.Reveal()
	for i := range text {
		for _, c := range []byte("0Zz_-") {
			if changed := text[:i] + string(c) + text[i+1:]; changed != text {
				if _, err := Parse(changed); err == nil {
					t.Fatalf("accepted with character %d changed", i)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	v := readVectors(f)
	for _, valid := range v.Valid {
		f.Add(valid.Text)
	}
	for _, bad := range v.Invalid {
		f.Add(bad.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := Parse(text)
		if environment, id, _, failed := Fingerprint(text); environment != key.Environment() || id != key.ID() || !errors.Is(failed, err) {
			t.Fatalf("%q: Fingerprint returns %q and %v, Parse %q and %v", text, id, failed, key.ID(), err)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) || (len(text) > 8 && strings.Contains(err.Error(), text)) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		if key.Reveal() != text || strings.Count(text, "_") != 3 {
			t.Fatalf("%q reads back as %q", text, key.Reveal())
		}
		if strings.Contains(key.Masked(), text[len(text)-secretLength-checksumLength:]) {
			t.Fatal("the masked form shows the secret")
		}
	})
}
