# The service, without PyTorch: docs/container.md. Builds for amd64 and arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 -t fmnist-edge .

# The wheel is the same for all platforms, so it is built once, on the platform that builds.
FROM --platform=$BUILDPLATFORM python:3.13-slim AS wheel
WORKDIR /source
RUN pip install --no-cache-dir build
COPY pyproject.toml hatch_build.py README.md CHANGELOG.md LICENSE ./
COPY LICENSES LICENSES
COPY runtime runtime
COPY train train
COPY export export
COPY benchmarks/fmnist_bench benchmarks/fmnist_bench
COPY artifacts artifacts
RUN python -m build --wheel --outdir /dist

FROM python:3.13-slim
COPY constraints.txt /tmp/constraints.txt
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    pip install --no-cache-dir -c /tmp/constraints.txt "$(ls /dist/*.whl)[serve]" \
    && rm /tmp/constraints.txt
# A number that no account has; nothing in the image belongs to it, so nothing can be changed.
USER 65532:65532
ENV PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["fmnist-serve", "--host", "0.0.0.0", "--port", "8000", "--drain-seconds", "5"]
