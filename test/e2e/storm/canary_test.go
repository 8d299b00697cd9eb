// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"dgbot.io/key-operator/api/v1alpha1"
)

// canary looks for key texts where none may be. It knows every key that ever was in a Secret: etcd has them all.
type canary struct {
	// needles are the first characters of the secret part of every key, as text and in base64.
	needles map[string]bool
}

// needleLength is enough that nothing else looks alike, and little enough to find a key that was cut short.
const needleLength = 16

func newCanary(ctx context.Context, from, to int64) (*canary, error) {
	c := &canary{needles: map[string]bool{}}
	return c, eachWrite(ctx, from, to, func(event *clientv3.Event) error {
		if !strings.HasPrefix(string(event.Kv.Key), secretsPrefix) || event.Type == clientv3.EventTypeDelete {
			return nil
		}
		secret := &corev1.Secret{}
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(event.Kv.Value, nil, secret); err != nil {
			return err
		}
		if text, ok := secret.Data[v1alpha1.DefaultSecretKey]; ok {
			c.add(string(text))
		}
		for _, suffix := range []string{"", v1alpha1.IdentityPreviousSuffix, v1alpha1.IdentityPendingSuffix} {
			c.addHMAC(secret.Data[v1alpha1.IdentitySecretKey+suffix])
		}
		return nil
	})
}

func (c *canary) add(text string) {
	if !strings.HasPrefix(text, "dgbot_") {
		return
	}
	part := text[strings.LastIndex(text, "_")+1:]
	c.needles[part[:needleLength]] = true
	// As a Secret is printed: what the secret part becomes does not depend on where in a group of three it begins,
	// once the first characters, which share a group with what stands before, are left out.
	prefix := len(text) - len(part)
	encoded := base64.StdEncoding.EncodeToString([]byte(text))
	begin := (prefix + 2) / 3 * 4
	c.needles[encoded[begin:begin+needleLength]] = true
}

// addHMAC adds an HMAC secret: of its digits as of its base64 the beginning is enough.
func (c *canary) addHMAC(text []byte) {
	if len(text) == 64 {
		c.needles[string(text[:needleLength])] = true
		c.needles[base64.StdEncoding.EncodeToString(text)[:needleLength]] = true
	}
}

// find returns an excerpt without the key where a text holds one; empty where not.
func (c *canary) find(text []byte) string {
	for i := 0; i+needleLength <= len(text); i++ {
		if c.needles[string(text[i:i+needleLength])] {
			return string(text[max(0, i-120):i]) + "<KEY>"
		}
	}
	return ""
}

// searchLog looks through what a manager printed, for keys and for panics.
func (c *canary) searchLog(path string) (lines int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	reader := bufio.NewReaderSize(file, 1<<20)
	for {
		line, readErr := reader.ReadBytes('\n')
		lines++
		if where := c.find(line); where != "" {
			err = errors.Join(err, fmt.Errorf("promise 5 broken: a key in the log: %s", where))
		}
		if strings.HasPrefix(string(line), "panic:") || strings.Contains(string(line), "Observed a panic") {
			err = errors.Join(err, fmt.Errorf("a panic: %s", line))
		}
		if errors.Is(readErr, io.EOF) {
			return lines, err
		}
		if readErr != nil {
			return lines, errors.Join(err, readErr)
		}
	}
}

// searchEtcd looks through every version of every object that is not a Secret.
func (c *canary) searchEtcd(ctx context.Context, from, to int64) (objects int, err error) {
	found := map[string]bool{}
	err = eachWrite(ctx, from, to, func(event *clientv3.Event) error {
		path := string(event.Kv.Key)
		if strings.HasPrefix(path, secretsPrefix) {
			return nil
		}
		objects++
		if c.find(event.Kv.Value) != "" {
			found[path] = true
		}
		return nil
	})
	for path := range found {
		err = errors.Join(err, fmt.Errorf("promise 5 broken: a key in %s", path))
	}
	return objects, err
}
