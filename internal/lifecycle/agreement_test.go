// SPDX-License-Identifier: Apache-2.0

package lifecycle_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dgbot.io/key-operator/internal/lifecycle"
)

// The policy is being rebuilt, and the rebuilt one must decide as the one before did. This test asks the policy about a million seeded
// observations and compares what it decides (steps in their order, status, events) with fingerprints that were taken before the
// first change. A fingerprint is short, so that the million fits into the repository; a copy of the old package to compare with would
// have made each change of a shared type a change of both.
//
// To see what a fingerprint that differs stands for, run the test with -agreement.dump=DIR here and on the commit that the fingerprints
// were taken on, and compare the two folders.
var (
	agreementBlocks = flag.Int("agreement.blocks", 5, "how many blocks of 1,000 observations of each kind to compare")
	agreementUpdate = flag.Bool("agreement.update", false, "take the fingerprints anew")
	agreementDump   = flag.String("agreement.dump", "", "folder to write what was decided to, a file a block")
)

const (
	// blockSize is how many observations one fingerprint stands for.
	blockSize = 1000
	// fingerprintFile has one line a block: its name, the fingerprint of what was decided, and that of the messages for people, which
	// alone changes where only the wording does.
	fingerprintFile = "testdata/agreement.txt"
)

// subjects are the kinds that the policy decides about, and how many blocks of each are fingerprinted.
var subjects = []struct {
	name     string
	blocks   int
	generate func(*rand.Rand, *transcript)
}{
	{"key", 700, generateKeys},
	{"chatbot", 280, generateChatbots},
	{"environment", 20, generateEnvironments},
}

func TestPlan_DecidesAsBeforeTheRebuild(t *testing.T) {
	known := readFingerprints(t)
	var taken strings.Builder
	for _, subject := range subjects {
		blocks := subject.blocks
		if !*agreementUpdate {
			blocks = min(blocks, lifecycle.Rounds(*agreementBlocks, 1))
		}
		for block := range blocks {
			name := fmt.Sprintf("%s/%d", subject.name, block)
			is := fingerprintOf(t, name, int64(block), subject.generate)
			fmt.Fprintln(&taken, name, is.facts, is.messages)
			was := known[name]
			switch {
			case *agreementUpdate || is == was:
			case is.facts == was.facts:
				t.Errorf("%s: the policy decides as before, and a message differs", name)
			default:
				t.Errorf("%s: the policy decides otherwise than before", name)
			}
		}
	}
	if *agreementUpdate {
		if err := os.WriteFile(fingerprintFile, []byte(taken.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFingerprints_NoticeSmallDifferences keeps the comparison from being one that cannot fail.
func TestFingerprints_NoticeSmallDifferences(t *testing.T) {
	base := fingerprintOf(t, "base", 1, generateKeys)
	if again := fingerprintOf(t, "again", 1, generateKeys); again != base {
		t.Error("two runs of one block have two fingerprints")
	}
	message := fingerprintOf(t, "message", 1, func(rng *rand.Rand, out *transcript) {
		generateKeys(rng, out)
		out.message("another message")
	})
	if message.messages == base.messages || message.facts != base.facts {
		t.Errorf("a message that differs is not told from a decision that differs: %+v, %+v", base, message)
	}
	decision := fingerprintOf(t, "decision", 1, func(rng *rand.Rand, out *transcript) {
		generateKeys(rng, out)
		out.fact("step", "another")
	})
	if decision.messages != base.messages || decision.facts == base.facts {
		t.Errorf("a decision that differs is not noticed: %+v, %+v", base, decision)
	}
}

// fingerprint of a block.
type fingerprint struct{ facts, messages string }

func fingerprintOf(t *testing.T, name string, seed int64, generate func(*rand.Rand, *transcript)) fingerprint {
	t.Helper()
	out := &transcript{limit: blockSize}
	generate(rand.New(rand.NewSource(seed)), out)
	if *agreementDump != "" {
		file := filepath.Join(*agreementDump, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(file, out.all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return fingerprint{facts: sum(out.facts.Bytes()), messages: sum(out.messages.Bytes())}
}

func sum(text []byte) string {
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:6])
}

func readFingerprints(t *testing.T) map[string]fingerprint {
	t.Helper()
	known := map[string]fingerprint{}
	if *agreementUpdate {
		return known
	}
	text, err := os.ReadFile(fingerprintFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 {
			t.Fatalf("%s: line %q does not have three fields", fingerprintFile, line)
		}
		known[fields[0]] = fingerprint{facts: fields[1], messages: fields[2]}
	}
	return known
}
