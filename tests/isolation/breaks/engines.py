"""Breaks of the rule's SQL and LanceDB forms, and of the searches and reads that use them."""

from tests.isolation.breaks import Break

_SQL, _LANCE = "storage/policy_sql.py", "storage/policy_lance.py"
_ON_SQL = "tests/isolation/test_each_engine.py::test_sql_filters[sqlite]"
_ON_LANCE = "tests/isolation/test_each_engine.py::test_lancedb_filters"
_MATCH = '.nearest_to_text(_match(words, "text")).where(where)'

BREAKS = [
    Break(
        "SQL: an empty list of groups meets everything",
        _SQL,
        "    if not groups:\n        return false()",
        "    if not groups:\n        return true()",
        (_ON_SQL,),
    ),
    Break(
        "SQL: the lists of another owner's object count",
        _SQL,
        "OBJECT_GROUPS.c.owner_group == table.c.owner_group,",
        "",
        (_ON_SQL,),
        quick=True,
    ),
    Break(
        "SQL: the lists of another kind's object count",
        _SQL,
        "OBJECT_GROUPS.c.object_kind == kind,",
        "",
        (_ON_SQL,),
    ),
    Break(
        "SQL: restricted groups are read as allowed ones",
        _SQL,
        "OBJECT_GROUPS.c.effect == effect,",
        "",
        (_ON_SQL,),
    ),
    Break(
        "SQL: what must not hold is not asked",
        _SQL,
        "return not_(_where(term, table, kind))",
        "return true()",
        (_ON_SQL,),
    ),
    Break(
        "SQL: what is read back forgets the restrictions",
        "storage/objects.py",
        'restricted_groups=frozenset(lists.get((ref, "restricted"), ())),',
        "restricted_groups=frozenset(),",
        ("tests/isolation/test_each_engine.py::test_what_sql_reads_back_is_what_was_stored",),
    ),
    Break(
        "SQL: retrieved documents are not checked again",
        "storage/documents.py",
        "tuple_(c.owner_group, c.id).in_(wanted), where(visibility(principal), Document)",
        "tuple_(c.owner_group, c.id).in_(wanted)",
        ("tests/storage/test_products.py::test_documents[sqlite]",),
    ),
    Break(
        "SQL: totals and facets count hidden rows",
        "storage/product_listing.py",
        "passing = [where(visibility(principal), Product), *narrowed(filters)]",
        "passing = [*narrowed(filters)]",
        ("tests/storage/test_product_listing.py::test_total_and_facets_count_visible_rows_only",),
    ),
    Break(
        "LanceDB: a list must have every group instead of one",
        _LANCE,
        'return f"array_has_any({column}, [',
        'return f"array_has_all({column}, [',
        (_ON_LANCE,),
    ),
    Break(
        "LanceDB: an empty list of owners holds everything",
        _LANCE,
        """return f"({column} IN ({', '.join(literals)}))" if literals else "false\"""",
        """return f"({column} IN ({', '.join(literals)}))" if literals else "true\"""",
        (_ON_LANCE,),
    ),
    Break(
        "LanceDB: what must not hold is not asked",
        _LANCE,
        'return f"(NOT {filter_of(term)})"',
        'return "true"',
        (_ON_LANCE,),
    ),
    Break(
        "LanceDB: a quote may stand in a literal",
        _LANCE,
        'r"[A-Za-z0-9._~/#-]{1,256}"',
        'r"[^\\n]{1,256}"',
        ("tests/storage/test_vectors.py::test_no_filter_value_is_read_as_a_filter",),
        quick=True,
    ),
    Break(
        "LanceDB: the search by words has no filter",
        "storage/vectors.py",
        _MATCH,
        _MATCH.removesuffix(".where(where)"),
        (_ON_LANCE,),
    ),
    Break(
        "LanceDB: rows do not say that they are sensitive",
        "storage/vector_rows.py",
        '"sensitive": access.sensitive,',
        '"sensitive": False,',
        (_ON_LANCE,),
    ),
]
