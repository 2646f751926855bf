# A machine with rl4bio and its tested versions. On a GPU host:
#   docker build -t rl4bio .
#   mkdir -p runs    # yours: a folder that docker makes is root's, and the image writes as user 1000
#   docker run --rm --gpus all -v "$PWD/runs:/work/runs" rl4bio fit rl4bio:pubmedqa_nano
# Without a GPU, smaller: docker build --build-arg TORCH=cpu -t rl4bio .
FROM python:3.12-slim

ARG TORCH=cuda
RUN apt-get update && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/rl4bio
COPY constraints.txt setup.cfg pyproject.toml README.md LICENSE ./
COPY configs configs
COPY rl4bio rl4bio
RUN if [ "$TORCH" = cpu ]; then \
        pip install --no-cache-dir -c constraints.txt torch \
            --index-url https://download.pytorch.org/whl/cpu; \
    fi \
    && pip install --no-cache-dir -c constraints.txt .
RUN useradd --create-home --uid 1000 user && mkdir /work && chown user /work
USER user
WORKDIR /work
ENTRYPOINT ["rl4bio"]
CMD ["doctor"]
