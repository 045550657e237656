"""What everyone speaks: contracts, errors, policy, ids. Pure: pydantic and the standard library."""
