// SPDX-License-Identifier: Apache-2.0

package clitest

import (
	"image"
	"image/color"
	"testing"
)

// CheckPicture fails the test unless most of a picture has the color of the page, and text is on it: text has many colors, as its edges
// are smoothed.
func CheckPicture(t *testing.T, picture image.Image, page color.NRGBA) {
	t.Helper()
	const colorsOfText = 100
	size, counts := picture.Bounds().Size(), map[color.Color]int{}
	for x := range size.X {
		for y := range size.Y {
			counts[color.NRGBAModel.Convert(picture.At(x, y))]++
		}
	}
	if area := size.X * size.Y; counts[page] < area/2 || len(counts) < colorsOfText {
		t.Errorf("%d of %d pixels have the color %v of the page, and there are %d colors", counts[page], area, page, len(counts))
	}
}
