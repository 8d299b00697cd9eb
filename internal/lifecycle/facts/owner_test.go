// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"fmt"
	"strings"
	"testing"

	"dgbot.io/key-operator/api/v1alpha1"
)

// TestKinds_HaveAMessageForEachLoss: a loss of any kind can come before a revision of either kind, and its event has the Secret's name.
func TestKinds_HaveAMessageForEachLoss(t *testing.T) {
	for _, kind := range []Kind{KeyKind, ChatbotKind} {
		for _, loss := range []v1alpha1.Cause{v1alpha1.CauseSecretLost, v1alpha1.CauseSecretAltered, v1alpha1.CauseRecordLost} {
			if message := fmt.Sprintf(kind.Losses[loss], "web"); !strings.Contains(message, `"web"`) || strings.Contains(message, "%!") {
				t.Errorf("%s, %s: the message is %q", kind.Noun, loss, message)
			}
		}
	}
}
