# oddframe without PyTorch: scores videos and watches cameras. Nothing is written but /events and
# /tmp, so the root file system may be read-only.
FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE NOTICE constraints.txt ./
COPY src src
COPY configs configs
RUN python -m venv /opt/oddframe \
    && /opt/oddframe/bin/pip install --no-cache-dir -c constraints.txt '.[mqtt]'

FROM python:3.11-slim
COPY --from=build /opt/oddframe /opt/oddframe
RUN useradd --create-home --uid 10001 oddframe \
    && mkdir /events \
    && chown 10001:10001 /events
ENV PATH=/opt/oddframe/bin:$PATH ODDFRAME_CACHE=/tmp/oddframe MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
WORKDIR /events
VOLUME /events
# ``watch`` touches this file every few seconds.
HEALTHCHECK --interval=60s --timeout=5s --start-period=60s \
    CMD ["sh", "-c", "find /events/journal/alive -mmin -2 | grep -q ."]
ENTRYPOINT ["oddframe"]
CMD ["watch", "--cameras", "/etc/oddframe/cameras.yaml", "--out", "/events"]
