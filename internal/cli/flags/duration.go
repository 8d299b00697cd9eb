// SPDX-License-Identifier: Apache-2.0

// Package flags has the kinds of flag values that several verbs share.
package flags

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// Duration is the value of a duration flag. Beside Go's units it accepts days of 24 hours: 30d, 1d12h, 90m.
type Duration time.Duration

// Day is the unit d, 24 hours.
const Day = 24 * time.Hour

// withDays matches a duration that begins with days: sign, days, rest.
var withDays = regexp.MustCompile(`^([+-]?)([0-9]+)d(.*)$`)

// String implements pflag.Value. Whole days are shown as days.
func (s *Duration) String() string {
	d := time.Duration(*s)
	days := d / Day
	if rest := d % Day; days != 0 && rest == 0 {
		return fmt.Sprintf("%dd", days)
	}
	return d.String()
}

// Set implements pflag.Value.
func (s *Duration) Set(text string) error {
	d, err := parse(text)
	if err != nil {
		return err
	}
	*s = Duration(d)
	return nil
}

// Type implements pflag.Value.
func (s *Duration) Type() string { return "duration" }

// parse parses a duration with or without days. It rejects more than time.Duration can hold.
func parse(text string) (time.Duration, error) {
	invalid := fmt.Errorf("%q is no duration: want one such as 30d, 1d12h or 90m", text)
	parts := withDays.FindStringSubmatch(text)
	if parts == nil {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, invalid
		}
		return d, nil
	}
	sign, rest := parts[1], time.Duration(0)
	days, err := strconv.ParseInt(parts[2], 10, 32)
	if err == nil && parts[3] != "" {
		// time.ParseDuration would accept a second sign here, as in 1d-1h.
		if c := parts[3][0]; c != '.' && (c < '0' || c > '9') {
			return 0, invalid
		}
		rest, err = time.ParseDuration(parts[3])
	}
	if err != nil {
		return 0, invalid
	}
	if days > int64((math.MaxInt64-rest)/Day) {
		return 0, fmt.Errorf("%q is too long: want less than 292 years", text)
	}
	d := time.Duration(days)*Day + rest
	if sign == "-" {
		d = -d
	}
	return d, nil
}
