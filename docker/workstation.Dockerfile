# The workstation: training, distillation, export and reports, in the exact environment of constraints.txt.
#
#   docker build -f docker/workstation.Dockerfile -t edgexfer --build-arg TORCH_CPU_INDEX=... .
#   docker build -f docker/workstation.Dockerfile -t edgexfer:cuda --build-arg TORCH_BUILD=cuda .
#   docker run --rm -v "$PWD:/work" edgexfer finetune photos/ --model resnet18 --out runs/teacher
#
# TORCH_BUILD: "cpu" (small) takes PyTorch's CPU wheels from TORCH_CPU_INDEX, the address that PyTorch's own install page
# gives for them; "cuda" takes the usual ones, which carry CUDA's libraries themselves and need only the host's driver
# and `docker run --gpus all`.
FROM python:3.11.14-slim-bookworm

ARG TORCH_BUILD=cpu
ARG TORCH_CPU_INDEX=

ENV ORT_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    HOME=/tmp

WORKDIR /opt/edgexfer
COPY constraints.txt ./
RUN case "$TORCH_BUILD" in \
      cpu) : "${TORCH_CPU_INDEX:?pass --build-arg TORCH_CPU_INDEX= the CPU index of the PyTorch install page}"; \
           set -- --index-url "$TORCH_CPU_INDEX" ;; \
      cuda) set -- ;; \
      *) echo "TORCH_BUILD is '$TORCH_BUILD'; allowed: cpu, cuda" >&2; exit 2 ;; \
    esac \
    && grep -E '^(torch|torchvision)==' constraints.txt > torch.txt \
    && python3 -m pip install --no-cache-dir --no-deps "$@" -r torch.txt
COPY pyproject.toml README.md LICENSE ./
COPY edgexfer edgexfer
# hadolint ignore=DL3013
RUN python3 -m pip install --no-cache-dir -c constraints.txt . \
    && python3 -c "import edgexfer, torch, onnxruntime"
RUN install -d -m 0755 -o 10001 -g 10001 /work

USER 10001:10001
WORKDIR /work
ENTRYPOINT ["edgexfer"]
CMD ["--help"]
