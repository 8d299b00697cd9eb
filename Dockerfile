# The manager and the verifier on an empty image: no shell, no packages, not root. They need no CA bundle, since the API server's CA comes
# with the service account.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY internal internal
# What --version prints: docker build --build-arg VERSION=1.2.3
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w -X dgbot.io/key-operator/internal/version.value=$VERSION" -o / ./cmd/manager ./cmd/verifier

FROM scratch
COPY --from=build /manager /verifier /
USER 65532:65532
ENTRYPOINT ["/manager"]
