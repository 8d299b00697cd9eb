// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/api/v1alpha1"
)

// rules are those of the environment that all keys of a storm are of.
func rules() *v1alpha1.DGbotEnvironment {
	return &v1alpha1.DGbotEnvironment{ObjectMeta: metav1.ObjectMeta{Name: "staging"}}
}

// someRules keep some keys from being issued first, and make others say that they break a rule. None of them is a cause to issue.
var someRules = []string{
	`{"spec":{"allowedScopes":["s.1","s.2"]}}`, `{"spec":{"oneKeyPerChatbot":true}}`, `{"spec":{"maxKeysPerNamespace":3}}`,
	`{"spec":{"namespaceSelector":{"matchLabels":{"no-namespace":"has-it"}}}}`,
}

// changeRules gives the environment rules for a moment, and takes them away for a longer one. In the end there are none.
func (s *storm) changeRules(ctx context.Context) {
	patch := func(ctx context.Context, text string) error {
		return admin.Patch(ctx, rules(), client.RawPatch(types.MergePatchType, []byte(text)))
	}
	const none = `{"spec":{"allowedScopes":null,"oneKeyPerChatbot":null,"maxKeysPerNamespace":null,"namespaceSelector":null}}`
	for ctx.Err() == nil {
		if patch(ctx, someRules[rand.IntN(len(someRules))]) == nil {
			s.deeds.count("give the environment a rule")
		}
		pause(ctx, rand.N(time.Second))
		_ = patch(ctx, none)
		pause(ctx, time.Second+rand.N(3*time.Second))
	}
	must(s.t, wait.PollUntilContextTimeout(s.t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return patch(ctx, none) == nil, nil
	}))
}
