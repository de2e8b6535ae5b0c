"""Blocks of Ray as tables of Arrow, and shards of them: for `write`, and for the `Datasink`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from alexpy import _build, _tables
from alexpy.errors import CodecError

if TYPE_CHECKING:
    from alexpy.codecs import Codec

# What is wrong with rows, which another try would not mend: told when all tasks have ended.
FAULTS = (TypeError, ValueError, KeyError, CodecError)
NOTHING = "data has neither rows nor types of columns: nothing says what its keys are"


@dataclass(frozen=True, slots=True)
class Shard:
    """What a task has built."""

    name: str
    """Of the try."""
    rows: int
    first: Any
    last: Any


def plan_of(
    schema: Any, key: str, codec: Codec[Any] | None, compression: Literal["zstd"] | None
) -> _build.Plan:
    """Decide what keys and values are, from the types of the columns alone."""
    _build.check_names(schema.names)
    columns = {one.name: _build.Column(str(one.type), _tables.holds(one.type)) for one in schema}
    return _build.plan_of(columns, key, codec, compression, "a cast to pyarrow.binary()")


def types_of(schema: Any) -> dict[str, Any]:
    return {one.name: one.type for one in schema}


def arrow(block: Any) -> pa.Table:
    """Return a block of Ray, which is a table of Arrow or a DataFrame of pandas, as the former."""
    names = block.column_names if isinstance(block, pa.Table) else list(block.columns)
    _build.check_names(names)
    columns = {}
    for name in names:
        column = block[name] if isinstance(block, pa.Table) else _column(name, block[name])
        # Rows of more than 2 GB cannot be put in another order under the offsets of the small types.
        large = {pa.binary(): pa.large_binary(), pa.string(): pa.large_string()}.get(column.type)
        columns[name] = column if large is None else column.cast(large)
    return pa.table(columns)


def _column(name: str, column: Any) -> Any:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iufbMm":
        # NaN stays a number; pandas would have it be null.
        return pa.array(column.to_numpy())
    try:
        return pa.array(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TypeError(
            f"the column {name!r} holds Python objects that are of no type of Arrow: {error}"
        ) from None


def refuse_nulls(table: pa.Table, key: str) -> None:
    for name in [key, *table.column_names]:
        column = table.column(name)
        if column.null_count:
            at = column.is_null().index(pa.scalar(value=True)).as_py()
            raise _build.null(name, key, table.column(key)[at])


def fill(build: _build.Build, plan: _build.Plan, table: pa.Table, key: str) -> Shard:
    """Build a shard of rows in any order."""
    table = table.take(np.argsort(table.column(key).to_numpy(), kind="stable"))
    keys = table.column(key).to_numpy()
    values = plan.values(
        len(keys),
        lambda name, dtype: table.column(name).to_numpy().astype(dtype, copy=False),
        lambda: table.column(plan.column),
    )
    return Shard(build.fill(plan, keys, values), len(keys), keys[0], keys[-1])


def empty(build: _build.Build, plan: _build.Plan) -> Shard:
    """Build a shard without keys."""
    keys = np.empty(0, "i8" if plan.key_kind == "int64" else plan.key_kind)
    return Shard(build.fill(plan, keys, []), 0, None, None)
