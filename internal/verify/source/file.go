// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const (
	// maxSize is the largest size of a file in bytes.
	maxSize = 1 << 20
	// maxEntries is the largest number of sources: each request asks all that may know its key.
	maxEntries = 32
)

// wrongType matches how the decoder says that a value has another type, by names of this code.
var wrongType = regexp.MustCompile(`json: cannot unmarshal (\S+) into Go struct field \w+\.(\S+) of type (\S+)`)

// Read reads the file of --source-config. The error says what is wrong with the file, or with one of its sources. Kubeconfigs are not read.
func Read(path string, registers bool) ([]Entry, error) {
	content, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	entries, err := parse(content, registers)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range entries {
		if at := entries[i].Kubeconfig; at != "" && !filepath.IsAbs(at) {
			entries[i].Kubeconfig = filepath.Join(filepath.Dir(path), at)
		}
	}
	return entries, nil
}

func parse(content []byte, registers bool) ([]Entry, error) {
	if hasSeveralDocuments(string(content)) {
		return nil, errors.New("it has a second YAML document: name all sources in one")
	}
	var file struct {
		Sources []Entry `json:"sources"`
	}
	decoded, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return nil, err
	}
	// The error of this decoder has the path of an unknown field, unlike that of package yaml.
	unknown, err := json.UnmarshalStrict(decoded, &file)
	if err = cmp.Or(err, errors.Join(unknown...)); err != nil {
		return nil, errors.New(wrongType.ReplaceAllString(err.Error(), "$2: want $3, found $1"))
	}
	if len(file.Sources) == 0 || len(file.Sources) > maxEntries {
		return nil, fmt.Errorf("sources has %d entries: want 1 to %d", len(file.Sources), maxEntries)
	}
	names, home := map[string]bool{}, ""
	for i := range file.Sources {
		e := &file.Sources[i]
		if err := e.validate(i == 0, registers); err != nil {
			return nil, fmt.Errorf("sources[%d] %q: %w", i, e.Name, err)
		}
		if names[e.Name] {
			return nil, fmt.Errorf("sources[%d]: the name %q is used by an earlier source", i, e.Name)
		}
		names[e.Name] = true
		if i > 0 && e.MaxRecords == nil {
			e.MaxRecords = ptr.To[int64](defaultRecords)
		}
		if e.Kubeconfig != "" {
			continue
		}
		if home != "" {
			return nil, fmt.Errorf("sources[%d] %q has no kubeconfig, as %q: both are the cluster that the verifier runs in", i, e.Name, home)
		}
		home = e.Name
	}
	return file.Sources, nil
}

// hasSeveralDocuments reports whether a further YAML document begins after the first one, which the decoder would leave out without a word.
func hasSeveralDocuments(content string) bool {
	hasContent := false
	for line := range strings.Lines(content) {
		line = strings.TrimRight(line, "\r\n")
		isStart := line == "---" || strings.HasPrefix(line, "--- ")
		if isStart && hasContent {
			return true
		}
		text := strings.TrimSpace(line)
		hasContent = hasContent || !isStart && text != "" && !strings.HasPrefix(text, "#") && !strings.HasPrefix(text, "%")
	}
	return false
}

// readBounded reads a file that is not larger than maxSize.
func readBounded(path string) ([]byte, error) {
	// Reading a pipe could take forever.
	if about, err := os.Stat(path); err == nil && !about.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path) //nolint:gosec // a path from a flag, or from the file that a flag names
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSize)
	}
	return bytes.TrimPrefix(content, []byte("\ufeff")), nil
}
