// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"strings"
)

const (
	excerptStart = "# excerpt: "
	excerptEnd   = "# end"
)

// Excerpt returns the part of a script between "# excerpt: name" and "# end" as a user types it into a shell: without what only
// checks, and without words. A name with a dot is that of a file of the script.
func (s Script) Excerpt(name string) (string, error) {
	for _, file := range s.files {
		if file.Name == name {
			return string(file.Data), nil
		}
	}
	var shell []string
	within, found := false, false
	for i, line := range s.lines {
		switch {
		case line == excerptStart+name:
			within, found = true, true
		case line == excerptEnd:
			within = false
		case within:
			typed, err := typedAs(line)
			if err != nil {
				return "", fmt.Errorf("%s:%d: %w", s.Path, i+1, err)
			}
			if typed != "" {
				shell = append(shell, typed)
			}
		}
	}
	if !found {
		return "", fmt.Errorf("%s has no excerpt and no file %q", s.Path, name)
	}
	return strings.Join(shell, "\n") + "\n", nil
}

// typedAs returns the shell command for a line of a script; nothing for one that only checks.
func typedAs(line string) (string, error) {
	line = strings.TrimPrefix(strings.TrimPrefix(line, "! "), "quietly ")
	command, rest, _ := strings.Cut(line, " ")
	fields := strings.Fields(rest)
	switch {
	case command == "kubectl", command == "cp":
		return line, nil
	case command == "now" && len(fields) == 1:
		return rest + "=$(date -u +%FT%TZ)", nil
	case command == "ask" && len(fields) >= 2:
		return fmt.Sprintf(`curl -X POST -H "Authorization: Bearer $(cat %s)" $VERIFIER/v1/verify`, fields[0]), nil
	case command == "key" && len(fields) == 3:
		namespace, secret, _ := strings.Cut(fields[1], "/")
		return fmt.Sprintf(`kubectl get secret %s -n %s -o jsonpath='{.data.%s}' | base64 -d >%s`, secret, namespace, jsonPath(fields[2]), fields[0]), nil
	case command == "key", command == "ask", command == "now":
		return "", fmt.Errorf("not of the form of %q: %s", command, line)
	}
	return "", nil
}

// jsonPath returns the name of a Secret's entry as JSONPath has it.
func jsonPath(entry string) string { return strings.ReplaceAll(entry, ".", `\.`) }
