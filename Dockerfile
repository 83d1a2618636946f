# syntax=docker/dockerfile:1
# The images for people with Docker; `make images` builds the same programs into images without it.
#
#   docker build --target operator -t registry.example/chaperone/operator:v1 --build-arg VERSION=v1 .
#   docker build --target sidecar  -t registry.example/chaperone/sidecar:v1  --build-arg VERSION=v1 .

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY sidecar sidecar
COPY webhook webhook
ARG VERSION=dev
# PostgreSQL's grammar is C: cgo, linked statically, so that the images need no C library.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -tags netgo,osusergo \
    -ldflags "-s -w -linkmode external -extldflags '-static' -X main.version=${VERSION}" \
    -o /out/ ./cmd/operator ./cmd/sidecar
# What evaluates the conditions of rules and what interprets scripts are programs of their own, without C.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -tags netgo,osusergo -ldflags "-s -w" -o /out/ ./cmd/when ./cmd/script

FROM gcr.io/distroless/static-debian12:nonroot AS operator
COPY --from=build /out/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]

# No shell, and no set-uid file: the redirect container runs this as root with NET_ADMIN.
FROM gcr.io/distroless/static-debian12:nonroot AS sidecar
COPY --from=build /out/sidecar /sidecar
COPY --from=build /out/when /when
COPY --from=build /out/script /script
USER 65532:65532
ENTRYPOINT ["/sidecar"]
