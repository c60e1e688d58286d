# The device runtime for a 64-bit PC: what a bundle needs, and nothing of a bundle itself.
#
#   docker build -f docker/x86_64.Dockerfile -t edgexfer-device:x86_64 .
#   docker run --rm --read-only --tmpfs /tmp -v "$PWD/bundle:/bundle:ro" edgexfer-device:x86_64 --verify-only
#
# The two device images differ in nothing but the platform (tested), which is named here on purpose: nobody builds an
# image of the wrong architecture by leaving out an option.
# hadolint ignore=DL3029
FROM --platform=linux/amd64 python:3.11.14-slim-bookworm

# onnxruntime 1.29 and newer reports its use to its makers unless told not to; the rest keeps a read-only system quiet.
ENV ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp

COPY docker/requirements-device.txt /opt/edgexfer/requirements-device.txt
RUN python3 -m pip install --no-cache-dir --no-deps --only-binary=:all: -r /opt/edgexfer/requirements-device.txt \
    && python3 -c "import numpy, onnxruntime, PIL"
RUN install -d -m 0755 /bundle \
    && install -d -m 0755 -o 10001 -g 10001 /results

USER 10001:10001
WORKDIR /results
VOLUME /results
ENTRYPOINT ["python3", "/bundle/bench.py"]
