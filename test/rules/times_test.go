// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"dgbot.io/key-operator/api/v1alpha1"
)

// The forms of times and durations. The markers stand at each field, because controller-gen ignores markers of a type alias;
// these are the one source that they are compared with.
const (
	// timePattern is for times that the operator and the verifiers write.
	timePattern   = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`
	maxTimeLength = 25
	// timeRule is for times that users write: a rule, and not a pattern, so that a rejection says what a time looks like.
	timeRule = "self.matches('^([1-8][0-9]{3}|9000)-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$')" +
		" && !format.datetime().validate(self).hasValue()" +
		" && timestamp(self) >= timestamp('1970-01-01T00:00:00Z') && timestamp(self) < timestamp('9000-01-01T00:00:00Z')"
	// maxWrittenTimeLength lets timeRule judge, and explain, a time that is a little too long.
	maxWrittenTimeLength = 64

	durationForm      = "self.matches('^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}([.][0-9]{1,3})?s)?([0-9]{1,6}ms)?$')"
	maxDurationLength = 32
)

// durationRule may have a lower bound, which differs between fields.
var durationRule = regexp.MustCompile("^" + regexp.QuoteMeta("self != '' && "+durationForm) + ` && (duration\(self\) >= duration\('1[ms]'\) && )?` +
	regexp.QuoteMeta("duration(self) <= duration('876000h')") + "$")

// fieldsOf returns the paths of the fields of a type, in the structs of this API below an object.
func fieldsOf(object, wanted reflect.Type, path ...string) (paths [][]string) {
	switch {
	case object == wanted:
		return [][]string{path}
	case object.Kind() == reflect.Pointer:
		return fieldsOf(object.Elem(), wanted, path...)
	case object.Kind() == reflect.Slice:
		return fieldsOf(object.Elem(), wanted, append(path[:len(path):len(path)], "[]")...)
	case object.Kind() != reflect.Struct || !strings.HasSuffix(object.PkgPath(), "/api/v1alpha1"):
		return nil
	}
	for i := range object.NumField() {
		name, _, _ := strings.Cut(object.Field(i).Tag.Get("json"), ",")
		paths = append(paths, fieldsOf(object.Field(i).Type, wanted, append(path[:len(path):len(path)], name)...)...)
	}
	return paths
}

var kinds = map[string]reflect.Type{
	"dgbotapikeys":       reflect.TypeFor[v1alpha1.DGbotAPIKey](),
	"dgbotapikeyrecords": reflect.TypeFor[v1alpha1.DGbotAPIKeyRecord](),
	"dgbotchatbots":      reflect.TypeFor[v1alpha1.DGbotChatbot](),
	"dgbotenvironments":  reflect.TypeFor[v1alpha1.DGbotEnvironment](),
}

// TestTimes_HaveOneFormByWriter covers every field of the Go types, also one without any marker.
func TestTimes_HaveOneFormByWriter(t *testing.T) {
	byUsers, byPrograms := 0, 0
	for _, plural := range plurals {
		for _, path := range fieldsOf(kinds[plural], reflect.TypeFor[metav1.Time]()) {
			s, name := schemaOf(t, plural, path...), plural+"."+strings.Join(path, ".")
			if path[0] == "spec" && plural != "dgbotapikeyrecords" {
				byUsers++
				rules := s.rules()
				if s.number("maxLength") != maxWrittenTimeLength || len(rules) != 1 || rules[0].expression != timeRule {
					t.Errorf("%s: at most %d, rules %q; want %d, only %s", name, s.number("maxLength"), rules, maxWrittenTimeLength, timeRule)
				}
				continue
			}
			byPrograms++
			if s.text("format") != "date-time" || s.text("pattern") != timePattern || s.number("maxLength") != maxTimeLength {
				t.Errorf("%s: format %q, pattern %q, at most %d; want date-time, %s, %d",
					name, s.text("format"), s.text("pattern"), s.number("maxLength"), timePattern, maxTimeLength)
			}
		}
	}
	if byUsers < 5 || byPrograms < 15 {
		t.Errorf("%d times that users write and %d others were found, want at least 5 and 15", byUsers, byPrograms)
	}
}

// TestTimes_InAnnotationsHaveTheFormOfFields: whatever the API server accepts in a field, Go can decode from an annotation.
func TestTimes_InAnnotationsHaveTheFormOfFields(t *testing.T) {
	if !strings.Contains(read(t, "internal", "lifecycle", "instant", "parse.go"), "`"+timePattern+"`") {
		t.Errorf("annotations have another pattern than %s", timePattern)
	}
}

func TestDurations_HaveOneForm(t *testing.T) {
	found := 0
	for _, plural := range plurals {
		for _, path := range fieldsOf(kinds[plural], reflect.TypeFor[metav1.Duration]()) {
			found++
			s, name := schemaOf(t, plural, path...), plural+"."+strings.Join(path, ".")
			if rules := s.rules(); len(rules) != 1 || !durationRule.MatchString(rules[0].expression) || s.number("maxLength") != maxDurationLength {
				t.Errorf("%s: at most %d, rules %q; want %d, only %s", name, s.number("maxLength"), rules, maxDurationLength, durationRule)
			}
		}
	}
	if found < 15 {
		t.Errorf("%d durations were found, want at least 15", found)
	}
}
