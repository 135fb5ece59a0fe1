# maskx with CUDA.
#   docker build -t maskx .
#   docker run --rm --gpus all --shm-size 8g --user "$(id -u):$(id -g)" -v "$PWD:/project" maskx doctor --env
# Another base: --build-arg BASE=..., any image whose python is 3.11 or newer; its PyTorch is kept if it is 2.6 or newer.
ARG BASE=pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime
FROM ${BASE}
# Extras, as in --build-arg EXTRAS=onnx,sam
ARG EXTRAS=onnx,tensorboard
COPY setup.cfg pyproject.toml README.md LICENSE MANIFEST.in /src/
COPY maskx_pipeline /src/maskx_pipeline
RUN python -m pip install --no-cache-dir "/src[${EXTRAS}]"
# The annotation index and torchvision's weights lie beside the data, so that a container that goes leaves them.
ENV XDG_CACHE_HOME=/project/.cache TORCH_HOME=/project/.cache/torch MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /project
ENTRYPOINT ["maskx"]
