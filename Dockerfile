# The demo in a container; docs/demo.md says how it is built and started.
FROM python:3.12-slim

# For pip: such as those that choose torch's CPU build.
ARG PIP_OPTIONS=""

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fer fer
COPY conf conf
RUN pip install --no-cache-dir $PIP_OPTIONS -c constraints.txt ".[demo,faces,explain,export]" && useradd --create-home fer

USER fer
WORKDIR /home/fer
EXPOSE 8000
# Only the container's own network sees 0.0.0.0; "docker run -p 127.0.0.1:8000:8000" gives it to this machine alone.
ENTRYPOINT ["python", "-m", "fer.demo", "host=0.0.0.0", "browser=false"]
CMD ["ckpt=/model"]
