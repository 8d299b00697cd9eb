// SPDX-License-Identifier: Apache-2.0

package register

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNewName_IsAValidNameForEveryHost(t *testing.T) {
	names := map[string]bool{}
	for host, want := range map[string]string{
		"dgbot-verifier-7d4f-x2x9p":     "dgbot-verifier-dgbot-verifier-7d4f-x2x9p-",
		"Host.Example.COM":              "dgbot-verifier-host.example.com-",
		"host_1":                        "dgbot-verifier-host-1-",
		"":                              "dgbot-verifier-unknown-",
		"..":                            "dgbot-verifier-unknown-",
		"a..b.-c-.d":                    "dgbot-verifier-a.b.c.d-",
		"ärger":                         "dgbot-verifier-rger-",
		strings.Repeat("a", 253):        "dgbot-verifier-" + strings.Repeat("a", 200) + "-",
		strings.Repeat("a", 199) + "-b": "dgbot-verifier-" + strings.Repeat("a", 199) + "--",
		strings.Repeat("a", 199) + ".b": "dgbot-verifier-" + strings.Repeat("a", 199) + "-",
	} {
		name := newName(host)
		if problems := validation.IsDNS1123Subdomain(name); !strings.HasPrefix(name, want) || len(name) != len(want)+randomLength || len(problems) > 0 {
			t.Errorf("%q becomes %q, want %q and %d characters: %v", host, name, want, randomLength, problems)
		}
		names[newName("x")], names[newName("x")] = true, true
	}
	if len(names) != 20 {
		t.Errorf("%d different names of 20", len(names))
	}
}
