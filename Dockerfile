# CPU:  docker build -t coopnets .
# GPU:  docker build -t coopnets:gpu --build-arg CUDA="[and-cuda]" .
# What it does, and how it is run: docs/CONTAINER.md.
FROM python:3.11-slim

# "[and-cuda]" brings the CUDA libraries that TensorFlow's own wheels were built with.
ARG CUDA=""
# Optional libraries: "[recover,video,heic,hub,onnx,wandb,mlflow]" or some of them.
ARG EXTRAS=""

# The large layer, which changes with the requirements alone.
RUN --mount=type=bind,source=requirements.txt,target=/requirements.txt \
    pip install --no-cache-dir -r /requirements.txt "tensorflow${CUDA}"

# setuptools writes beside what it builds: a copy, which is gone afterwards.
RUN --mount=type=bind,target=/context \
    cp -r /context /tmp/source \
    && pip install --no-cache-dir "/tmp/source${EXTRAS}" \
    && rm -r /tmp/source

RUN useradd --create-home --uid 1000 coopnets \
    && install --directory --owner=coopnets /data
USER 1000
WORKDIR /data
VOLUME /data

# Also of a user with another number, who has no home: data sets, classifiers and decoded
# images are kept with the runs.
ENV KERAS_HOME=/data/.keras \
    MPLCONFIGDIR=/tmp/matplotlib

ENTRYPOINT ["coopnets"]
