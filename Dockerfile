# Anlass with the shipped project. Mount your own workflows, templates and anlass.toml over /project.
# Checked by tests/docs/test_compose.py; not built in CI.
FROM python:3.11-slim

WORKDIR /build
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY engine engine
COPY channels channels
RUN pip install --no-cache-dir -c requirements.lock ".[otel]" && rm -rf /build

WORKDIR /project
COPY anlass.toml ./
COPY workflows workflows
COPY templates templates
RUN useradd --uid 10001 --home-dir /project --shell /usr/sbin/nologin anlass && mkdir -m 0700 var && chown anlass var
USER anlass

VOLUME /project/var
# The collector, and the operators' port of whatever runs here.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
CMD ["anlass", "run", "--project", "/project"]
