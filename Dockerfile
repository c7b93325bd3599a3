# One image for every program of ours: `docker compose` gives each its command.
FROM python:3.11-slim

# Wheels of torch from the usual index bring CUDA (several GB). For the CPU build name the index of the CPU wheels:
# `docker compose build --build-arg PIP_EXTRA_INDEX_URL=…`. Put no login into it: build arguments stay in the image's history.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

ENV DO_NOT_TRACK=1 \
    DVC_NO_ANALYTICS=1 \
    GIT_PYTHON_REFRESH=quiet \
    HF_HUB_OFFLINE=1 \
    LABELWHEEL_BIND=0.0.0.0 \
    LABELWHEEL_HOME=/var/lib/labelwheel \
    LABELWHEEL_LABEL_CONFIG=/etc/labelwheel/label_config.xml \
    MLFLOW_DISABLE_TELEMETRY=true \
    NO_ALBUMENTATIONS_UPDATE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    YOLO_AUTOINSTALL=false \
    YOLO_OFFLINE=1

RUN useradd --uid 10001 --create-home labelwheel \
    && install -d -o labelwheel -g labelwheel /var/lib/labelwheel /var/lib/labelwheel/media /var/lib/labelwheel/media/images

# The dependencies first, without our code: a layer of 3 GB that a change of code leaves alone.
WORKDIR /usr/src/labelwheel
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install -c constraints.txt ".[buckets]"

COPY . .
RUN pip install --no-deps --force-reinstall . \
    && install -D -m 0644 label_config.xml /etc/labelwheel/label_config.xml

USER labelwheel
WORKDIR /var/lib/labelwheel
VOLUME /var/lib/labelwheel
ENTRYPOINT ["labelwheel"]
CMD ["--help"]
