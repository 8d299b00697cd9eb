// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"dgbot.io/key-operator/api/v1alpha1"
)

var trailingPunctuation = regexp.MustCompile(`[^a-z0-9]+$`)

// RecordName returns the name of a revision's record. It is a function of the key and the revision alone: of two
// instances that issue the same revision, one gets AlreadyExists. The uid tells keys of one name apart.
func RecordName(keyName string, uid types.UID, revision int64) string {
	sum := sha256.Sum256([]byte(uid))
	if len(keyName) > 230 {
		keyName = trailingPunctuation.ReplaceAllString(keyName[:230], "")
	}
	return fmt.Sprintf("%s-%s-r%d", keyName, hex.EncodeToString(sum[:4]), revision)
}

// numberInName returns the revision that a record of the key has by its name; 0 where the name is no such. A mutating
// policy can make any number of spec.revision, and the name is taken all the same.
func numberInName(key *v1alpha1.DGbotAPIKey, name string) int64 {
	at := strings.LastIndex(name, "-r")
	if at < 0 {
		return 0
	}
	n, err := strconv.ParseInt(name[at+len("-r"):], 10, 64)
	if err != nil || name != RecordName(key.Name, key.UID, n) {
		return 0
	}
	return n
}

// SupersededBy returns the published revision that superseded the record's, 0 if none has.
func SupersededBy(record *v1alpha1.DGbotAPIKeyRecord) int64 {
	n, err := strconv.ParseInt(record.Annotations[v1alpha1.SupersededByAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// WithdrawnAt returns when the operator withdrew the revision of a record while it was valid; zero if it did not.
func WithdrawnAt(record *v1alpha1.DGbotAPIKeyRecord) time.Time {
	at, err := time.Parse(time.RFC3339Nano, record.Annotations[v1alpha1.WithdrawnAtAnnotation])
	if err != nil {
		return time.Time{}
	}
	return at
}
