"""Whether a gateway keeps groups apart, asked over plain HTTP: the same probes for each, with a small adapter.

`python -m bench.isolation --gateway cohort|litellm|all [--json]`. A gateway of yours takes an adapter (it is what
`gateway.Gateway` says) and an entry in `gateways.py`.
"""
