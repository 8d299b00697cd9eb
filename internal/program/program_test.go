// SPDX-License-Identifier: Apache-2.0

package program

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

func flagSet() *flag.FlagSet {
	flags := flag.NewFlagSet("verifier", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

func parse(t *testing.T, args ...string) *zap.Options {
	t.Helper()
	logging, err := Parse(flagSet(), args)
	if err != nil {
		t.Fatal(err)
	}
	return logging
}

// TestLimitVerbosity_KeepsBodiesOutOfTheLog: from level 8 on client-go logs bodies, which hold key text, HMAC secrets and tokens.
func TestLimitVerbosity_KeepsBodiesOutOfTheLog(t *testing.T) {
	for argument, want := range map[string]zapcore.Level{
		"--zap-log-level=info": 0, "--zap-log-level=debug": -1, "--zap-log-level=7": -7, "--zap-log-level=8": -7, "--zap-log-level=127": -7,
	} {
		logging := parse(t, argument)
		limitVerbosity("verifier", logging)
		if !logging.Level.Enabled(want) || logging.Level.Enabled(want-1) {
			t.Errorf("%s: %v is logged, want %v and not more", argument, logging.Level, want)
		}
	}
	logging := parse(t)
	if limitVerbosity("verifier", logging); logging.Level != nil {
		t.Errorf("without the flag the level is %v, want the default", logging.Level)
	}
}

func TestParse_RejectsArguments(t *testing.T) {
	if _, err := Parse(flagSet(), []string{"serve"}); err == nil || !strings.Contains(err.Error(), `"serve"`) || !strings.Contains(err.Error(), "the verifier") {
		t.Errorf("error %v, want one that names the argument and the program", err)
	}
	if _, err := Parse(flagSet(), []string{"--unknown"}); err == nil || errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v, want one about the flag", err)
	}
	if _, err := Parse(flagSet(), []string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v, want flag.ErrHelp", err)
	}
}
