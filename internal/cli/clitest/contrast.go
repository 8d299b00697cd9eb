// SPDX-License-Identifier: Apache-2.0

package clitest

import (
	"math"
	"regexp"
	"strconv"
	"testing"
)

var (
	colorScheme = regexp.MustCompile(`:root \{([^}]*)\}`)
	namedColor  = regexp.MustCompile(`--([a-z]+): (#[0-9a-f]{3,6})\b`)
)

// CheckContrast fails where a page has a color of text that does not stand out from what is behind it, in the schemes light, dark and print:
// each block of variables, of which those named are backgrounds, or lines that need not be read. WCAG 2.2 asks for 4.5 to 1.
func CheckContrast(t *testing.T, page string, schemes int, backgrounds, lines map[string]bool) {
	t.Helper()
	blocks := colorScheme.FindAllStringSubmatch(page, -1)
	if len(blocks) != schemes {
		t.Fatalf("the page has %d color schemes, want %d", len(blocks), schemes)
	}
	const enough = 4.5
	for i, block := range blocks {
		colors := map[string]string{}
		for _, named := range namedColor.FindAllStringSubmatch(block[1], -1) {
			colors[named[1]] = named[2]
		}
		for behind := range backgrounds {
			for name, color := range colors {
				if backgrounds[name] || lines[name] || colors[behind] == "" {
					continue
				}
				if got := contrast(t, color, colors[behind]); got < enough {
					t.Errorf("scheme %d: %s %s on %s %s has a contrast of %.2f, want at least %.1f", i, name, color, behind, colors[behind], got, enough)
				}
			}
		}
	}
}

// contrast returns the contrast ratio of two colors, as WCAG defines it.
func contrast(t *testing.T, one, other string) float64 {
	t.Helper()
	a, b := luminance(t, one), luminance(t, other)
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

func luminance(t *testing.T, color string) float64 {
	t.Helper()
	if len(color) == 4 {
		color = string([]byte{'#', color[1], color[1], color[2], color[2], color[3], color[3]})
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		value, err := strconv.ParseUint(color[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatalf("color %s: %v", color, err)
		}
		part := float64(value) / 255
		if part <= 0.04045 {
			part /= 12.92
		} else {
			part = math.Pow((part+0.055)/1.055, 2.4)
		}
		sum += weight * part
	}
	return sum
}
