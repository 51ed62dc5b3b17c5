# Anlass with the shipped project. Mount your own workflows, templates and anlass.toml over /project.
# Checked by tests/docs/test_compose.py; not built in CI.
# The base by its digest instead of its tag: docs/operators/running.md#images-and-their-digests.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
# Everything is fetched here, and only what has a hash in requirements.lock. What is needed to run comes out of it, in /opt/anlass.
FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY requirements.lock ./
RUN pip wheel --no-cache-dir --require-hashes -r requirements.lock -w /wheels
COPY pyproject.toml MANIFEST.in README.md LICENSE CHANGELOG.md ./
COPY anlass anlass
COPY engine engine
COPY channels channels
RUN python -m venv /opt/anlass && \
    /opt/anlass/bin/pip install --no-cache-dir --no-index --find-links /wheels ".[all]"

# Nothing of the build is left here, and nothing is taken from a network.
FROM ${PYTHON_IMAGE}
COPY --from=build /opt/anlass /opt/anlass
ENV PATH=/opt/anlass/bin:$PATH

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
