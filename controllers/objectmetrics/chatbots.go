// SPDX-License-Identifier: Apache-2.0

package objectmetrics

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"dgbot.io/key-operator/api/v1alpha1"
)

var (
	chatbotReady = prometheus.NewDesc("dgbot_chatbot_ready_status",
		"1 for the status that the chatbot's condition Ready has (True, False or Unknown), 0 for the two others. Unknown: the chatbot has no status yet.",
		[]string{"condition", "environment", "name", "namespace"}, nil)
	chatbotAbnormal = prometheus.NewDesc("dgbot_chatbot_abnormal_condition",
		"1 for each of the chatbot's conditions Reconciling, Stalled, RequestInvalid, RequestPending, ImportIgnored and ImportPadded while it is True, with its reason. No series otherwise.",
		[]string{"condition", "environment", "name", "namespace", "reason"}, nil)
)

func collectChatbot(series chan<- prometheus.Metric, chatbot *v1alpha1.DGbotChatbot) {
	which := []*dto.LabelPair{label("environment", chatbot.Spec.Environment), label("name", chatbot.Name), label("namespace", chatbot.Namespace)}
	collectConditions(series, chatbotReady, chatbotAbnormal, chatbot.Status.Conditions, which)
}
