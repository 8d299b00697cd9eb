// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"dgbot.io/key-operator/internal/testenv/scenario"
)

const script = `# A key

quietly kubectl create namespace a
# excerpt: rotate
now at
kubectl annotate dgkey a keys.dgbot.io/rotate-requested-at=$at
stdout annotated
say 'Ask for it:'
key key.txt a/a tls.key
cp key.txt old.txt
ask key.txt 200 valid
# end
kubectl delete dgkey a

-- key.yaml --
kind: DGbotAPIKey
`

const page = `Rotate:
<!-- scenario: key/rotate -->
<!-- end -->
<!-- scenario: key/key.yaml -->
old
<!-- end -->
- in a list:

  <!-- scenario: key/key.yaml -->
  <!-- end -->
`

const want = `Rotate:
<!-- scenario: key/rotate -->
` + "```sh" + `
at=$(date -u +%FT%TZ)
kubectl annotate dgkey a keys.dgbot.io/rotate-requested-at=$at
kubectl get secret a -n a -o jsonpath='{.data.tls\.key}' | base64 -d >key.txt
cp key.txt old.txt
curl -X POST -H "Authorization: Bearer $(cat key.txt)" $VERIFIER/v1/verify
` + "```" + `
<!-- end -->
<!-- scenario: key/key.yaml -->
` + "```yaml" + `
kind: DGbotAPIKey
` + "```" + `
<!-- end -->
- in a list:

  <!-- scenario: key/key.yaml -->
  ` + "```yaml" + `
  kind: DGbotAPIKey
  ` + "```" + `
  <!-- end -->
`

func TestFill_HasWhatAUserTypes(t *testing.T) {
	scripts := loaded(t)
	for range 2 {
		filled, err := fill(page, scripts)
		if err != nil || filled != want {
			t.Fatalf("got %v\n%s\nwant\n%s", err, filled, want)
		}
	}
}

func TestFill_NamesWhatDoesNotExist(t *testing.T) {
	for _, place := range []string{"none/rotate", "key/none"} {
		if _, err := fill("<!-- scenario: "+place+" -->\n<!-- end -->\n", loaded(t)); err == nil {
			t.Errorf("%s does not exist, and nothing is said", place)
		}
	}
}

func loaded(t *testing.T) map[string]scenario.Script {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "01-key.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	scripts, err := scenario.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if scripts[0].Title != "A key" || scripts[0].Number != 1 || scripts[0].Checks != 7 {
		t.Errorf("read as %q, number %d, %d checks; want A key, 1, 7", scripts[0].Title, scripts[0].Number, scripts[0].Checks)
	}
	return map[string]scenario.Script{scripts[0].Name: scripts[0]}
}
