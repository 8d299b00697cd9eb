// SPDX-License-Identifier: Apache-2.0

package controllers

// The rights of the manager; config/rbac/role.yaml is generated from these lines.
//
// The operator never writes a DGbotAPIKey's spec, so it has no right to. It never deletes a Secret either, but where the
// admission plugin OwnerReferencesPermissionEnforcement is on (OpenShift) only those who may delete an object may put an
// owner back. "mint" is the verb that the admission policies ask for before a record or a key's status is written.
//
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotapikeys,verbs=get;list;watch
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotapikeys/status,verbs=patch
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotapikeys/finalizers,verbs=update
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotapikeyrecords,verbs=get;list;watch;create;patch;delete;mint
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
//
// Environments: their rules, and the labels of the namespaces that these select.
//
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotenvironments,verbs=get;list;watch
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotenvironments/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
//
// Chatbots: their ConfigMaps, and the claims of their IDs in the identity namespace. Claims, which can have no owner there, are
// deleted by the operator.
//
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotchatbots,verbs=get;list;watch
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotchatbots/status,verbs=patch
// +kubebuilder:rbac:groups=keys.dgbot.io,resources=dgbotchatbots/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;update;delete
//
// Who scrapes the metrics is asked of the API server.
//
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create
//
// The Leases of the verifiers, in the operator's own namespace unless --usage-namespace says otherwise: since when they track uses, and up
// to which version of the records they answer. The operator deletes those that no verifier renews.
//
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch;delete,namespace=dgbot-system
//
// Leader election, in the operator's own namespace; it still records core events.
//
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update,namespace=dgbot-system
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch,namespace=dgbot-system
