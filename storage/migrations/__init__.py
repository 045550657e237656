"""The database's migrations, applied by `storage.migrate`."""
