"""Marks a nested object of an input model whose fields an MCP tool takes at the top level."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lift:
    """`Annotated[Retrieval, Lift("retrieval_")]` makes `top_k` of it the tool argument `retrieval_top_k`."""

    prefix: str = ""
