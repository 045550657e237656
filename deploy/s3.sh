#!/bin/sh
# Starts the S3 store with one identity, whose secret comes from the environment and is written to memory only.
set -eu
umask 077
cat > /dev/shm/s3.json <<JSON
{"identities": [{"name": "cohort", "credentials": [{"accessKey": "cohort", "secretKey": "$S3_SECRET"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
exec weed server -dir=/data -ip=s3 -ip.bind=0.0.0.0 -s3 -s3.config=/dev/shm/s3.json
