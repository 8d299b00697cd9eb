// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"testing"
	"time"

	"dgbot.io/key-operator/api/v1alpha1"
	"dgbot.io/key-operator/internal/lifecycle/schedule"
)

func TestTimeZonesThatAreNotKnown(t *testing.T) {
	if LocationOf("Europe/Berlin") == nil || LocationOf("Mars/Olympus") != nil || LocationOf("Mars/Olympus") != nil {
		t.Error("a time zone that is known is not, or the other way round")
	}
	windows := schedule.WindowsOf(&v1alpha1.DGbotEnvironmentSpec{Rotation: &v1alpha1.EnvironmentRotation{Windows: []v1alpha1.RotationWindow{
		{Start: "01:30", End: "24:00", TimeZone: "Europe/Berlin"}, {Start: "00:00", End: "00:01"},
	}}}, LocationOf)
	if len(windows) != 2 || windows[0].Start != 90 || windows[0].End != 24*60 || windows[0].Location == nil || windows[1].Location != time.UTC {
		t.Errorf("%+v", windows)
	}
}
