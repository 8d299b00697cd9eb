// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"time"

	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

// writeChart packages the chart with the image as the default of its values, as 'helm package' does. Its files get a fixed time, so
// that the same sources give the same bytes.
func (r release) writeChart(out string) (string, error) {
	loaded, err := loader.Load(filepath.Join(r.repository, "charts", "dgbot-key-operator"))
	if err != nil {
		return "", err
	}
	loaded.Metadata.Version, loaded.Metadata.AppVersion = r.version, cmp.Or(r.image.Tag, r.version)
	for _, file := range loaded.Raw {
		if file.Name != chartutil.ValuesfileName {
			continue
		}
		if file.Data, err = r.values(file.Data); err != nil {
			return "", err
		}
	}
	loaded.StampModTimes(time.Unix(0, 0))
	path, err := chartutil.Save(loaded, out)
	if err != nil {
		return "", err
	}
	// Saving says nothing of what could not be written in the end.
	_, err = loader.LoadFile(path)
	return path, err
}

// values puts the image into the text of values.yaml, the comments of which are its documentation.
func (r release) values(text []byte) ([]byte, error) {
	for _, replacement := range [][2]string{
		{"\n  repository: " + imageInConfig + "\n", "\n  repository: " + r.image.Repository + "\n"},
		{"\n  digest: \"\"\n", fmt.Sprintf("\n  digest: %q\n", r.image.Digest)},
	} {
		if n := bytes.Count(text, []byte(replacement[0])); n != 1 {
			return nil, fmt.Errorf("values.yaml has %q %d times", replacement[0], n)
		}
		text = bytes.Replace(text, []byte(replacement[0]), []byte(replacement[1]), 1)
	}
	return text, nil
}
