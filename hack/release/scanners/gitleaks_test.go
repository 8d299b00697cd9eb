// SPDX-License-Identifier: Apache-2.0

// Package scanners tests config/integrations/scanners/gitleaks.toml with gitleaks itself. What the rule has to find is said by
// internal/apikey, whose tests compare the regular expressions.
package scanners

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/spf13/viper"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/sources"
)

const (
	root     = "../../.."
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// detector loads the rule file as the command does.
func detector(t *testing.T) *detect.Detector {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	reader := viper.New()
	reader.SetConfigFile(filepath.Join(root, "config", "integrations", "scanners", "gitleaks.toml"))
	must(t, reader.ReadInConfig())
	var file config.ViperConfig
	must(t, reader.Unmarshal(&file))
	rules, err := file.Translate()
	must(t, err)
	if len(rules.Rules) != 1 {
		t.Fatalf("%d rules, want one", len(rules.Rules))
	}
	d := detect.NewDetector(rules)
	// The default of the command.
	d.MaxDecodeDepth = 5
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// found are the keys that gitleaks finds in a text, each once.
func found(t *testing.T, text string) []string {
	t.Helper()
	var keys []string
	for _, finding := range detector(t).DetectString(text) {
		keys = append(keys, finding.Secret)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func vectors(t *testing.T) (valid, invalid []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "internal", "apikey", "testdata", "vectors.json"))
	must(t, err)
	var content map[string][]struct{ Text string }
	must(t, json.Unmarshal(raw, &content))
	for _, vector := range content["valid"] {
		valid = append(valid, vector.Text)
	}
	for _, vector := range content["invalid"] {
		invalid = append(invalid, vector.Text)
	}
	if len(valid) < 5 || len(invalid) < 20 {
		t.Fatalf("only %d and %d vectors", len(valid), len(invalid))
	}
	return valid, invalid
}

// random draws n characters of the alphabet.
func random(t *testing.T, n int) string {
	t.Helper()
	text := make([]byte, n)
	for i := range text {
		at, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		must(t, err)
		text[i] = alphabet[at.Int64()]
	}
	return string(text)
}

// mint makes a key as docs/key-format.md describes it.
func mint(t *testing.T, environment string) string {
	t.Helper()
	body := "dgbot_" + environment + "_" + random(t, 12) + "_" + random(t, 43)
	sum, digits := crc32.ChecksumIEEE([]byte(body)), ""
	for range 6 {
		digits = string(alphabet[sum%62]) + digits
		sum /= 62
	}
	return body + digits
}

func TestKeysAreFoundWhereTheyStand(t *testing.T) {
	valid, _ := vectors(t)
	for _, environment := range []string{"a", "production", "dgbot", "eu-west-1", strings.Repeat("e", 32)} {
		for range 20 {
			valid = append(valid, mint(t, environment))
		}
	}
	for _, key := range valid {
		for _, text := range []string{
			key, key + "\n", "token: " + key, `{"api-key":"` + key + `"}`, `"a: b\n` + key + `\n"`, "curl -H 'Authorization: Bearer " + key + "' x",
			"https://example.org/?key%3D" + key + "&x=y", "  - name: TOKEN\n    value: " + key + "\n  - name: X\n", key + "_" + key, "é" + key + "…",
		} {
			if got := found(t, text); !slices.Equal(got, []string{key}) {
				t.Errorf("found %q in %q", got, text)
			}
		}
	}
}

// A Secret's manifest holds the key in base64, which gitleaks decodes.
func TestAKeyInASecretsManifestIsFound(t *testing.T) {
	key := mint(t, "production")
	manifest := "kind: Secret\ndata:\n  api-key: " + base64.StdEncoding.EncodeToString([]byte(key)) + "\n"
	if got := found(t, manifest); !slices.Equal(got, []string{key}) {
		t.Errorf("found %q", got)
	}
}

// Between what is written and the regular expression stand gitleaks' keywords and filters: they must not take anything
// away, and a change of one character must count.
func TestGitleaksSaysWhatTheExpressionSays(t *testing.T) {
	_, texts := vectors(t)
	for range 3 {
		key := mint(t, "prod")
		for i := range len(key) {
			texts = append(texts, key[:i]+key[i+1:], key[:i]+"_"+key[i+1:], key[:i]+"-"+key[i:], key[:i]+"0"+key[i+1:])
		}
	}
	d := detector(t)
	expression := d.Config.Rules["dgbot-api-key"].Regex
	keys := 0
	for _, text := range texts {
		want := []string{}
		for _, match := range expression.FindAllStringSubmatch(text, -1) {
			want = append(want, match[1])
		}
		if got := found(t, text); !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("found %q in %q, want %q", got, text, want)
		}
		keys += len(want)
	}
	if keys < 100 || len(texts)-keys < 100 {
		t.Errorf("%d of %d texts were keys: this compares nothing", keys, len(texts))
	}
}

func TestInnocentTextsAreNotReported(t *testing.T) {
	files, err := filepath.Glob("testdata/innocent/*")
	must(t, err)
	if len(files) < 3 {
		t.Fatalf("the corpus has %d files", len(files))
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(t, err)
		if !strings.Contains(string(content), "dgbot_") {
			t.Errorf("%s does not mention us: nothing would be looked at", file)
		}
		if got := found(t, string(content)); len(got) > 0 {
			t.Errorf("%s: found %q", file, got)
		}
	}
	// A megabyte of base62 with what begins like a key in between, each part one too long or too short.
	var blob strings.Builder
	for blob.Len() < 1<<20 {
		fmt.Fprintf(&blob, "%sdgbot_production_%s_%s\n%sdgbot_production_%s_%s %s\n",
			random(t, 200), random(t, 12), random(t, 50+len(blob.String())%40), random(t, 100), random(t, 11), random(t, 49), random(t, 300))
	}
	if got := found(t, blob.String()); len(got) > 0 {
		t.Errorf("found %q in noise", got)
	}
}

// Go's own sources hold keys, certificates, hashes and base64 of every kind, and none of ours.
func TestGosSourcesAreNotReported(t *testing.T) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	d := detector(t)
	findings, err := d.DetectSource(t.Context(), &sources.Files{Config: &d.Config, Path: filepath.Join(strings.TrimSpace(string(goroot)), "src", "crypto"), Sema: d.Sema})
	must(t, err)
	if d.TotalBytes.Load() < 5_000_000 {
		t.Fatalf("only %d bytes read", d.TotalBytes.Load())
	}
	for _, finding := range findings {
		t.Errorf("%s:%d: %s", finding.File, finding.StartLine, finding.Secret)
	}
}

// This repository holds no keys but the test vectors, which no operator issued.
func TestThisRepositoryHoldsNoKeys(t *testing.T) {
	valid, invalid := vectors(t)
	files, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	must(t, err)
	names := strings.Split(strings.TrimSuffix(string(files), "\x00"), "\x00")
	if len(names) < 50 {
		t.Fatalf("only %d files", len(names))
	}
	seen := map[string]bool{}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue
		}
		must(t, err)
		for _, key := range found(t, string(content)) {
			seen[key] = true
			if !slices.ContainsFunc(append(valid, invalid...), func(vector string) bool { return strings.Contains(vector, key) }) {
				t.Errorf("%s holds a key that is no test vector: %s…", name, key[:len("dgbot_")+8])
			}
		}
	}
	for _, key := range valid {
		if !seen[key] {
			t.Errorf("the vector %s is not found in the repository: this looks at nothing", key)
		}
	}
}
