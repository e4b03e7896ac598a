# One image holds every entrypoint. Build and run: docs/image.md
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY requirements.txt ./
# Both secrets are optional: a pip.conf that names a mirror, and the certificates it needs. Neither enters a layer.
# Wheels only: no code of a dependency runs while building, and no compiler is needed.
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=certificates,target=/run/secrets/certificates \
    pip install --require-hashes --only-binary :all: -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY trading_runtime trading_runtime
# pip and setuptools have done their work: what cannot install anything cannot be made to.
RUN pip install --no-index --no-deps --no-build-isolation . && pip uninstall --yes setuptools pip
# unchecked-hash: bytecode that never looks at file times, which copying between stages may change.
# Without it every start on a read-only root would compile everything again.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
# Kernels are compiled for any processor of this architecture (backtest/jit.py), so this cache fits every node.
RUN cd / && python -m trading_runtime.backtest.warm

FROM ${BASE_IMAGE}
# Slim images leave out the standard library's bytecode.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/(site-packages|dist-packages|tests?)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/venv /opt/venv
# The bundled example: its configuration names its data by a path relative to itself.
COPY trading_runtime/local /opt/trading-runtime/trading_runtime/local
COPY tests/data/parts /opt/trading-runtime/tests/data/parts
ARG GIT_COMMIT=unknown
ARG VERSION=0.1.0
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="trading-runtime" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${GIT_COMMIT}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TRADING_RUNTIME_COMMIT=${GIT_COMMIT}
WORKDIR /opt/trading-runtime
USER 10001:10001
ENTRYPOINT ["trading-runtime"]
