// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"dgbot.io/key-operator/internal/testenv/controlplane"
)

// What is checked when all tests have run: what the suite as a whole must have left, or not left.

// afterwards returns what is wrong after the whole suite.
func afterwards(ctx context.Context) error {
	return errors.Join(noKeyIsOutsideItsSecret(ctx), everyRightIsUsed(ctx))
}

// exposes reports whether a text holds a key: as it is, its secret part, or either in base64 as a Secret prints it.
func exposes(where, key string) bool {
	secretPart := key[strings.LastIndex(key, "_")+1:]
	encoded := base64.StdEncoding.EncodeToString([]byte(key))
	// The first part of both encodings is public: the environment and the key's ID.
	return strings.Contains(where, secretPart) || strings.Contains(where, encoded[len(encoded)/2:])
}

// noKeyIsOutsideItsSecret looks through all that the managers logged at the highest verbosity, and through every object
// that the operator writes and that is not a Secret.
func noKeyIsOutsideItsSecret(ctx context.Context) error {
	log := world.Log.String()
	if !strings.Contains(log, "Issued revision") {
		return errors.New("the log is not the operator's")
	}
	objects, err := world.Kubectl(ctx, "get", "dgkey,dgrec,dgbotcb,configmaps,events,events.events.k8s.io,leases", "-A", "-o", "json").Output()
	if err != nil {
		return err
	}
	texts := world.Texts()
	for _, text := range texts {
		if exposes(log, text) {
			err = errors.Join(err, errors.New("a key is in the log"))
		}
		if exposes(string(objects), text) {
			err = errors.Join(err, errors.New("a key is in an object that is not its Secret"))
		}
	}
	if n := len(texts); n < 50 {
		err = errors.Join(err, fmt.Errorf("only %d keys were looked for", n))
	}
	return err
}

// everyRightIsUsed: a right that nothing asked for in the whole suite is one too many.
func everyRightIsUsed(ctx context.Context) error {
	used := map[string]bool{
		// Asked for by admission plugins and policies, not by requests.
		"update keys.dgbot.io/dgbotapikeys/finalizers":  true,
		"update keys.dgbot.io/dgbotchatbots/finalizers": true,
		"mint keys.dgbot.io/dgbotapikeyrecords":         true,
		"delete secrets":                                true,
		// By informers where the API server does not stream lists.
		"list secrets":                         true,
		"list configmaps":                      true,
		"list keys.dgbot.io/dgbotchatbots":     true,
		"list keys.dgbot.io/dgbotenvironments": true,
		"list namespaces":                      true,
		"list coordination.k8s.io/leases":      true,
		// For a Lease that no verifier renewed for an hour.
		"delete coordination.k8s.io/leases": true,
		// For an event that repeats.
		"patch events.k8s.io/events": true,
		"patch events":               true,
		// Watches that go on are not in the log.
		"watch secrets":                          true,
		"watch configmaps":                       true,
		"watch keys.dgbot.io/dgbotchatbots":      true,
		"watch keys.dgbot.io/dgbotenvironments":  true,
		"watch namespaces":                       true,
		"watch keys.dgbot.io/dgbotapikeys":       true,
		"watch keys.dgbot.io/dgbotapikeyrecords": true,
		"watch coordination.k8s.io/leases":       true,
	}
	requests, err := controlplane.ReadAudit(world.AuditLog)
	if err != nil {
		return err
	}
	for _, r := range requests {
		used[r.Right()] = true
	}
	var everywhere rbacv1.ClusterRole
	if err := admin.Get(ctx, client.ObjectKey{Name: controlplane.OperatorAccount}, &everywhere); err != nil {
		return err
	}
	var local rbacv1.Role
	if err := admin.Get(ctx, client.ObjectKey{Namespace: controlplane.OperatorNamespace, Name: controlplane.OperatorAccount}, &local); err != nil {
		return err
	}
	for _, rule := range append(everywhere.Rules, local.Rules...) {
		for _, right := range rights(rule) {
			if !used[right] {
				err = errors.Join(err, fmt.Errorf("nothing uses the right to %s", right))
			}
		}
	}
	return err
}

func rights(rule rbacv1.PolicyRule) []string {
	var all []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				all = append(all, controlplane.Right(verb, group, resource, ""))
			}
		}
	}
	return all
}
