// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// register registers the metrics of a Feed. It returns the counters of failed watches and lists, and of ignored objects.
func (f *Feed) register(registry prometheus.Registerer, withIdentity bool) (failures, ignored prometheus.Counter) {
	failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_verifier_watch_failures_total", Help: "Failed watches and lists of records or HMAC secrets; a complete list follows each.",
	})
	ignored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "dgbot_verifier_ignored_objects_total", Help: "Records and HMAC secrets that were read and do not count: they are not allowed here or " +
			"malformed, there is no room for them, or a record with their key ID was created before.",
	})
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	registry.MustRegister(failures, ignored,
		gauge("dgbot_verifier_records", "Records in memory.", func() float64 { return float64(f.Keys.Records()) }),
		gauge("dgbot_verifier_duplicate_records", "Records that do not count because one with their key ID was created before.",
			func() float64 { return float64(f.Keys.Duplicates()) }),
		gauge("dgbot_verifier_complete", "1 unless records were left out because there is no room for them.", func() float64 {
			return number(f.KeyFreshness.Complete())
		}),
		gauge("dgbot_verifier_synced", "1 once all records were read since the present registration began, 0 before: everything is denied.", func() float64 {
			return number(f.KeyFreshness.Synced())
		}),
		gauge("dgbot_verifier_records_age_seconds", "Seconds since the API server was last heard of; +Inf for never.", func() float64 {
			return seconds(f.KeyFreshness.age(f.pulse.moment()))
		}),
		gauge("dgbot_verifier_max_staleness_seconds", "The age from which on requests are denied (--max-staleness).", func() float64 {
			return f.KeyFreshness.bound.MaxStaleness.Seconds()
		}))
	if withIdentity {
		registry.MustRegister(
			gauge("dgbot_verifier_chatbots", "Chatbots in memory whose visitors can be vouched for.", func() float64 { return float64(f.Chatbots.Len()) }),
			gauge("dgbot_verifier_identity_age_seconds", "Seconds since the API server was last heard of by the watch of HMAC secrets; +Inf for never.", func() float64 {
				return seconds(f.ChatbotFreshness.age(f.pulse.moment()))
			}))
	}
	if f.KeyFreshness.registration.required {
		registry.MustRegister(gauge("dgbot_verifier_registration_age_seconds",
			"Seconds since the last successful write of the registration was sent, under whatever name; +Inf before the first.", func() float64 {
				last := f.KeyFreshness.registration.lastRenewed.Load()
				if last == nil {
					return math.Inf(1)
				}
				return f.pulse.moment().since(*last).Seconds()
			}))
	}
	return failures, ignored
}

// number returns 1 for true and 0 for false.
func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(age time.Duration) float64 {
	if age == forever {
		return math.Inf(1)
	}
	return age.Seconds()
}
