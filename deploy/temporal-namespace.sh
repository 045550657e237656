#!/bin/sh
# The namespace, its retention, and the search attributes by which a call finds its execution.
set -eu
temporal operator namespace describe --namespace default >/dev/null 2>&1 ||
  temporal operator namespace create --namespace default --retention 24h
temporal operator search-attribute create --namespace default \
  --name CohortCall --type KeywordList --name CohortOperation --type Keyword \
  --name CohortGroup --type Keyword --name CohortOutcome --type Keyword
