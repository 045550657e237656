#!/bin/sh
# Creates Temporal's two databases on the shared PostgreSQL, or brings them up to date.
set -eu
for database in temporal visibility; do
  name=temporal
  [ "$database" = temporal ] || name=temporal_visibility
  tool="temporal-sql-tool --plugin postgres12 --ep $POSTGRES_SEEDS --user $POSTGRES_USER --port $DB_PORT --db $name"
  $tool create
  $tool setup-schema -v 0.0 || echo "the schema of $name is there already"
  $tool update-schema -d "/etc/temporal/schema/postgresql/v12/$database/versioned"
done
