// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const mebibyte = 1 << 20

// many are n entries, each with a value of size characters that begins with the text.
func many(n, size int, text string) map[string]string {
	data := map[string]string{}
	for i := range n {
		data[fmt.Sprintf("entry-%d", i)] = (text + strings.Repeat(" ", size))[:size]
	}
	return data
}

func with(data map[string]string, name, value string) map[string]string {
	data = maps.Clone(data)
	data[name] = value
	return data
}

func TestLargeInnocentObjectsPassWithoutAWord(t *testing.T) {
	for name, data := range map[string]map[string]string{
		"one value of 1 MiB":                         {"x": strings.Repeat("y", mebibyte)},
		"1 MiB that mentions us":                     {"x": strings.Repeat("rate(dgbot_keys_ready[5m]) ", mebibyte/27)},
		"1 MiB of control characters":                {"x": strings.Repeat("\x01", mebibyte)},
		"10,000 values":                              many(10_000, 100, "some text"),
		"10,000 values that mention us":              many(10_000, 100, "dgbot_keys_ready"),
		"40,000 empty values":                        many(40_000, 0, ""),
		"1 MiB of what is almost a key":              {"x": strings.Repeat(key[:len(key)-1]+" ", 250_000/len(key))},
		"masked keys by the thousand":                many(4_000, 40, "dgbot_production_7Hq2xV0aBcD9_..."),
		"1 MiB of other programs' base64 and base62": {"x": strings.Repeat("A0b1C2d3E4f5", mebibyte/12)},
	} {
		t.Run(name, func(t *testing.T) { silent(t, configMap(data)) })
	}
}

// Up to these sizes a key is found, which proves that the search was not cancelled: with failurePolicy Ignore it would pass.
func TestKeysAreFoundUpToTheStatedSizes(t *testing.T) {
	mention := many(4_999, mebibyte/5_000-1, "dgbot_keys_ready")
	for name, c := range map[string]struct {
		object client.Object
		places string
	}{
		"at the end of 250,000 characters":           {configMap(map[string]string{"x": padded(key, 250_000)}), `data "x"`},
		"beside 1 MiB that mentions us":              {configMap(map[string]string{"big": padded("dgbot_x", mebibyte-200), "x": key}), `data "x"`},
		"beside 1 MiB of control characters":         {configMap(map[string]string{"big": strings.Repeat("\x01", mebibyte-200), "x": key}), `data "x"`},
		"among 5,000 values that mention us":         {configMap(with(mention, "x", key)), `data "x"`},
		"among 240 containers":                       {pod(manyContainers(240), env("X", key)), `container "web" env "X"`},
		"among 5,000 environment values":             {pod(manyEnv(4_994, "dgbot_"+strings.Repeat("a b ", 60)), env("X", key)), `container "web" env "X"`},
		"among 5,000 arguments":                      {pod(manyArgs(4_994, "dgbot_"+strings.Repeat("a b ", 60)), args(key)), `container "web" args`},
		"beside an environment value of 1.4 million": {pod(env("BIG", padded("dgbot_", 1_400_000)), env("X", key)), `container "web" env "X"`},
	} {
		t.Run(name, func(t *testing.T) { everywhere(t, c.object, c.places) })
	}
}

// Names are cut off, not left out: the answer of an API server has little room.
func TestManyPlacesAreCutOff(t *testing.T) {
	for name, object := range map[string]client.Object{
		"1,000 values of a ConfigMap":                  configMap(many(1_000, 250, key)),
		"1,000 values with names of 250 characters":    configMap(longNames(many(1_000, 250, key))),
		"50 values of 5,000 characters in a container": pod(manyEnv(50, padded(key, 5_000))),
	} {
		t.Run(name, func(t *testing.T) {
			warned := mustCreate(t, ordinary, object)
			if len(warned.warnings) != 1 || len(warned.warnings[0]) > 1_000 || !strings.Contains(warned.warnings[0], "… and more"+remedy) {
				t.Errorf("warned: %q", warned.warnings)
			}
			refused := mustCreate(t, strict, object)
			if len(refused.warnings) > 0 || !strings.HasSuffix(refused.refusal, "… and more"+remedy) {
				t.Errorf("refused: %q, warned: %q", refused.refusal, refused.warnings)
			}
		})
	}
}

// Beyond the bounds the API server accepts the object, and warns the user in one line.
func TestWhatIsTooLargeIsAcceptedAndSaid(t *testing.T) {
	for name, c := range map[string]struct {
		object client.Object
		said   string
	}{
		"a key at the end of 250,001 characters": {configMap(map[string]string{"x": padded(key, 250_001), "y": "z"}), `is too much text that may hold one, in data "x"`},
		"a key at the end of 1 MiB":              {configMap(map[string]string{"x": padded(key, mebibyte)}), `is too much text that may hold one, in data "x"`},
		"1,001 keys":                             {configMap(many(1_001, 100, key)), "is too much text that may hold one, in more than 1000 values"},
		"a key among 5,001 values":               {configMap(with(many(5_000, 100, ""), "x", key)), "are more than 5000 values or 250 containers"},
		"a key among 10,000 values":              {configMap(with(many(9_999, 100, ""), "x", key)), "are more than 5000 values or 250 containers"},
		"51 keys in a container":                 {pod(manyEnv(51, key)), `is too much text that may hold one, in container "web"`},
		"a key among 5,001 environment values":   {pod(manyEnv(4_995, ""), env("X", key)), "are more than 5000 values or 250 containers"},
		"a key among 251 containers":             {pod(manyContainers(251), env("X", key)), "are more than 5000 values or 250 containers"},
		"a name that is a key":                   {configMap(map[string]string{key: padded(key, 250_001)}), `is too much text that may hold one, in data "(a key)"`},
	} {
		t.Run(name, func(t *testing.T) {
			mustCreate(t, ordinary, c.object).expect(t, []string{unsearched(c.said)}, "")
			mustCreate(t, strict, c.object).expect(t, []string{unsearched(c.said)}, "")
			mustCreate(t, exempt, c.object).expect(t, nil, "")
		})
	}
}

func manyEnv(n int, value string) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		for i := range n {
			env(fmt.Sprintf("VARIABLE_%d", i), value)(spec)
		}
	}
}

func manyArgs(n int, value string) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		for range n {
			args(value)(spec)
		}
	}
}

// manyContainers makes there be n containers.
func manyContainers(n int) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) {
		for len(spec.Containers) < n {
			spec.Containers = append(spec.Containers, corev1.Container{Name: fmt.Sprintf("more-%d", len(spec.Containers)), Image: "example/more"})
		}
	}
}

func args(value string) func(*corev1.PodSpec) {
	return func(spec *corev1.PodSpec) { spec.Containers[0].Args = append(spec.Containers[0].Args, value) }
}

func longNames(data map[string]string) map[string]string {
	long := map[string]string{}
	for name, value := range data {
		long[name+strings.Repeat("x", 250-len(name))] = value
	}
	return long
}
