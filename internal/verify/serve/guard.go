// SPDX-License-Identifier: Apache-2.0

package serve

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// metricsPath is the path that a role has to allow to GET, as for the manager's metrics.
	metricsPath = "/metrics"
	// readerTime is the time for which an accepted token is not reviewed again.
	readerTime = time.Minute
	// maxReaders bounds the number of accepted tokens that are kept.
	maxReaders = 64
	// reviewsPerSecond bounds the reviews that clients with bad tokens can cause.
	reviewsPerSecond = 5
)

// metricsGuard serves metrics to clients whose token may GET /metrics, as the manager does. It reviews tokens and access with the API server.
// It is safe for concurrent use.
type metricsGuard struct {
	client kubernetes.Interface
	limit  flowcontrol.PassiveRateLimiter
	now    func() time.Time
	next   http.Handler

	mutex sync.Mutex
	// readers are the hashes of accepted tokens, with the time of their next review.
	readers map[[sha256.Size]byte]time.Time
}

func newMetricsGuard(client kubernetes.Interface, now func() time.Time, next http.Handler) *metricsGuard {
	return &metricsGuard{
		client: client, limit: flowcontrol.NewTokenBucketPassiveRateLimiter(reviewsPerSecond, 4*reviewsPerSecond), now: now, next: next,
		readers: map[[sha256.Size]byte]time.Time{},
	}
}

// ServeHTTP implements http.Handler.
func (g *metricsGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := r.Header.Get("Authorization")
	token, isBearer := bearerToken(header)
	if token = strings.TrimSpace(token); !isBearer || token == "" {
		w.Header().Set(challengeHeader, challenge)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	hash := sha256.Sum256([]byte(token))
	if g.isReader(hash) {
		g.next.ServeHTTP(w, r)
		return
	}
	if !g.limit.TryAccept() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many tokens to review", http.StatusTooManyRequests)
		return
	}
	switch code, err := g.review(r, token); {
	case err != nil:
		http.Error(w, "the API server cannot be asked who may read metrics", http.StatusServiceUnavailable)
	case code != http.StatusOK:
		http.Error(w, http.StatusText(code), code)
	default:
		g.remember(hash)
		g.next.ServeHTTP(w, r)
	}
}

func (g *metricsGuard) isReader(hash [sha256.Size]byte) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.now().Before(g.readers[hash])
}

func (g *metricsGuard) remember(hash [sha256.Size]byte) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if len(g.readers) >= maxReaders {
		clear(g.readers) // their tokens are reviewed again
	}
	g.readers[hash] = g.now().Add(readerTime)
}

// review returns 200 if the user of the token may GET /metrics, else 401 or 403.
func (g *metricsGuard) review(r *http.Request, token string) (code int, err error) {
	user, err := g.client.AuthenticationV1().TokenReviews().Create(r.Context(), &authentication.TokenReview{
		Spec: authentication.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	if !user.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	extra := map[string]authorization.ExtraValue{}
	for name, values := range user.Status.User.Extra {
		extra[name] = authorization.ExtraValue(values)
	}
	access, err := g.client.AuthorizationV1().SubjectAccessReviews().Create(r.Context(), &authorization.SubjectAccessReview{
		Spec: authorization.SubjectAccessReviewSpec{
			User: user.Status.User.Username, UID: user.Status.User.UID, Groups: user.Status.User.Groups, Extra: extra,
			NonResourceAttributes: &authorization.NonResourceAttributes{Path: metricsPath, Verb: "get"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	if !access.Status.Allowed {
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

// selfSigned returns a certificate to serve metrics with if no flag names one: a token must not be sent without TLS.
func selfSigned() (getCertificate, error) {
	certificate, key, err := cert.GenerateSelfSignedCertKey("dgbot-verifier", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for metrics: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate for metrics: %w", err)
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }, nil
}
