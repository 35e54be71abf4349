"""The declarative base and the column types that both databases share."""

from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

RowNumber = Annotated[
    int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
]
"""A number that rises with insertion; SQLite counts only in columns declared INTEGER."""
Word = Annotated[str, mapped_column(String(63))]
"""An id in the sense of `shared.ids`."""
KeyWord = Annotated[str, mapped_column(String(63), primary_key=True)]
Millis = Annotated[int, mapped_column(BigInteger)]
"""UTC, milliseconds."""
LongText = Annotated[str, mapped_column(Text)]


class Base(DeclarativeBase):
    """Root of all tables that SQLAlchemy knows; the roll-up table belongs to `cloud.timeseries`."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, dict[str, Any]: JSON, list[Any]: JSON}
