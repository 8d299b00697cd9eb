// SPDX-License-Identifier: Apache-2.0

// Package cluster reads and patches the operator's objects, with the rights of the user. It is the only package of the plugin with a client of
// its own; describe reads workloads through Core.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"dgbot.io/key-operator/api/v1alpha1"
)

// The kinds that are asked for.
const (
	keyResource         = "dgbotapikeys"
	recordResource      = "dgbotapikeyrecords"
	environmentResource = "dgbotenvironments"
	chatbotResource     = "dgbotchatbots"
)

// requestTimeout bounds each request where --request-timeout does not: a server that accepts and never answers must not hang a script.
const requestTimeout = 30 * time.Second

// Client is a client of the API server with the rights of the user.
type Client struct {
	client rest.Interface
	config *rest.Config
	// Namespace is the one of --namespace, or of the context.
	Namespace string
	// retries bounds how often client-go repeats a read of keys that the API server postpones by Retry-After.
	retries int
}

// defaultRetries is client-go's own default.
const defaultRetries = 10

// ForPolling returns a client that does not repeat reads: the caller does, and sees the answer of each.
func (c *Client) ForPolling() *Client {
	polling := *c
	polling.retries = 0
	return &polling
}

// Connect returns a client of the cluster that flags name. It asks the cluster nothing yet.
func Connect(flags *genericclioptions.ConfigFlags) (*Client, error) {
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster to talk to: %w", err)
	}
	namespace, _, err := flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, v1alpha1.GroupVersion)
	config = rest.CopyConfig(config)
	// The API server's priority and fairness protects it. A limit here would only add waiting that has nothing to do with its answer.
	config.QPS = -1
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	return &Client{client: client, config: config, Namespace: namespace, retries: defaultRetries}, nil
}

// Core returns the client for kinds of Kubernetes itself.
func (c *Client) Core() (kubernetes.Interface, error) {
	config := rest.CopyConfig(c.config)
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = nil, "", nil
	return kubernetes.NewForConfig(config)
}

// Key returns the DGbotAPIKey of a name, or the API server's error, which may be NotFound.
func (c *Client) Key(ctx context.Context, name types.NamespacedName) (*v1alpha1.DGbotAPIKey, error) {
	key := &v1alpha1.DGbotAPIKey{}
	return key, c.client.Get().MaxRetries(c.retries).Namespace(name.Namespace).Resource(keyResource).Name(name.Name).Do(ctx).Into(key)
}

// Chatbot returns the DGbotChatbot of a name; an empty one with an error.
func (c *Client) Chatbot(ctx context.Context, name types.NamespacedName) (*v1alpha1.DGbotChatbot, error) {
	chatbot := &v1alpha1.DGbotChatbot{}
	return chatbot, c.client.Get().Namespace(name.Namespace).Resource(chatbotResource).Name(name.Name).Do(ctx).Into(chatbot)
}

// Environment returns the DGbotEnvironment of a name.
func (c *Client) Environment(ctx context.Context, name string) (*v1alpha1.DGbotEnvironment, error) {
	environment := &v1alpha1.DGbotEnvironment{}
	return environment, c.client.Get().Resource(environmentResource).Name(name).Do(ctx).Into(environment)
}

// pageSize bounds what one answer of the API server holds.
const pageSize = 500

// Keys returns the keys of a namespace that a label selector selects; of all namespaces if namespace is empty. It reads page by page.
func (c *Client) Keys(ctx context.Context, namespace, selector string) ([]v1alpha1.DGbotAPIKey, error) {
	var all []v1alpha1.DGbotAPIKey
	for token := ""; ; {
		var page v1alpha1.DGbotAPIKeyList
		if err := c.page(keyResource, namespace, token).Param("labelSelector", selector).Do(ctx).Into(&page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if token = page.Continue; token == "" {
			return all, nil
		}
	}
}

// Records returns the records of a namespace whose selectable field has a value; of all namespaces if namespace is empty.
func (c *Client) Records(ctx context.Context, namespace, field, value string) ([]v1alpha1.DGbotAPIKeyRecord, error) {
	var all []v1alpha1.DGbotAPIKeyRecord
	for token := ""; ; {
		var page v1alpha1.DGbotAPIKeyRecordList
		if err := c.page(recordResource, namespace, token).Param("fieldSelector", field+"="+value).Do(ctx).Into(&page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if token = page.Continue; token == "" {
			return all, nil
		}
	}
}

func (c *Client) page(resource, namespace, token string) *rest.Request {
	return c.client.Get().MaxRetries(c.retries).Resource(resource).NamespaceIfScoped(namespace, namespace != "").
		Param("limit", strconv.Itoa(pageSize)).Param("continue", token)
}

// fieldManager owns the fields that the plugin sets. It must not begin with kubectl, as the program's name does: Flux removes the fields of
// such managers when it applies Git the next time.
const fieldManager = "dgbot"

// Patch changes annotations of a key and, unless spec is nil, its spec. It replaces key by the answer. The API server rejects it if the key was deleted and created again since it was read.
func (c *Client) Patch(ctx context.Context, key *v1alpha1.DGbotAPIKey, annotations map[string]string, spec map[string]any) error {
	change := map[string]any{"metadata": map[string]any{"uid": key.UID, "annotations": annotations}}
	if spec != nil {
		change["spec"] = spec
	}
	text, err := json.Marshal(change)
	if err != nil {
		return err
	}
	request := c.client.Patch(types.MergePatchType).Namespace(key.Namespace).Resource(keyResource).Name(key.Name).Param("fieldManager", fieldManager)
	return request.Body(text).Do(ctx).Into(key)
}

// Now returns the API server's time in whole seconds. The operator compares the time of a request with its own clock, and the clock of
// the user's machine may be wrong.
func (c *Client) Now(ctx context.Context) (time.Time, error) {
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return time.Time{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.client.Get().AbsPath("/version").URL().String(), nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, err
	}
	_ = response.Body.Close()
	at, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}, errors.New("the API server does not say what time it is")
	}
	return at.UTC(), nil
}

// TypeMeta returns the type of one of the operator's kinds, which answers of the API server leave out.
func TypeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}
}
