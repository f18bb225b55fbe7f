# The sidecar as an image: compiled, without a compiler, pip or root.
#
#   docker build -t goodput-proxy .
#   docker run -p 9000:9000 -p 9001:9001 goodput-proxy --upstream http://HOST:8000
#
# Whoever needs the base to the byte adds its digest: --build-arg BASE=python:...@sha256:...
ARG BASE=python:3.13.7-slim-bookworm

FROM ${BASE} AS build
# Debian keeps one version of each, and nothing of it is in the image: nothing to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements requirements
COPY pyproject.toml README.md LICENSE ./
COPY tools tools
COPY goodput_proxy goodput_proxy
RUN GOODPUT_COMPILE=1 sh tools/install_image.sh /opt/goodput-proxy

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="goodput-proxy" \
    org.opencontainers.image.description="Live goodput of LLM inference: a transparent streaming sidecar" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/goodput-proxy /opt/goodput-proxy
# Nothing is written, so a read-only root file system does (docker run --read-only).
ENV PATH=/opt/goodput-proxy/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The number that distroless images give to nobody in particular; Kubernetes checks numbers only.
USER 65532:65532
EXPOSE 9000 9001
STOPSIGNAL SIGTERM
# For Docker; Kubernetes has probes of its own. It asks the admin listener where that is by default.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9001/healthz', timeout=2)"]
# No shell in between: SIGTERM reaches the proxy, which drains.
ENTRYPOINT ["goodput-proxy"]
CMD ["serve"]
