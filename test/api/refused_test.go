// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// refusal is a manifest, or a change, that the API server must not take.
type refusal struct {
	name string
	// user who sends it; the cluster's admin where empty.
	user string
	// base is what patch is laid over to be created; where it is empty, patch changes an object that exists.
	patch string
	// status: the patch goes to the status subresource.
	status bool
	// want is the whole answer.
	want string
}

func long(n int) string { return strings.Repeat("a", n) }

// scopes returns n different scopes as a JSON list.
func scopes(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"scope-%d"`, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

// refuse runs cases against one kind: create lays the patch over the good manifest, otherwise it is sent as a change of
// the object, which exists.
func refuse(t *testing.T, manifest string, create bool, cases []refusal) {
	t.Helper()
	existing := object(manifest)
	if !create {
		must(t, admin.Create(t.Context(), existing))
		t.Cleanup(func() { must(t, client.IgnoreNotFound(admin.Delete(context.Background(), existing))) })
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			user, err := clientOf(test.user)
			must(t, err)
			switch {
			case create:
				err = user.Create(t.Context(), object(manifest, test.patch))
			case test.status:
				err = user.Status().Patch(t.Context(), existing.DeepCopy(), mergePatch(test.patch))
			default:
				err = user.Patch(t.Context(), existing.DeepCopy(), mergePatch(test.patch))
			}
			if err == nil {
				if create {
					must(t, admin.Delete(t.Context(), object(manifest, test.patch)))
				}
				t.Fatal("accepted")
			}
			if err.Error() != test.want {
				t.Errorf("answer\n%s\nwant\n%s", err, test.want)
			}
		})
	}
}

// What many answers have in common.
const (
	badKey    = `DGbotAPIKey.keys.dgbot.io "crm" is invalid: `
	badRecord = `DGbotAPIKeyRecord.keys.dgbot.io "crm-00000000-r1" is invalid: `
	// notChecked is what the API server adds where a type, a bound or an enumeration is violated.
	notChecked = `, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`
	// emptySegment is the message about a scope such as "a..b".
	emptySegment = `a scope must not have an empty segment: remove a leading, trailing or doubled dot (such as conversations.read or conversations.*)`
	timePattern  = `'^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$'`
)
