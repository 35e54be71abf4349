"""Run Alembic's migrations on our own engine: up, down, and a check that nothing is left to do.

Both directions run in one transaction (SQLite and PostgreSQL have transactional DDL), so a migration
that fails leaves the database as it was.
"""

from collections.abc import Callable
from importlib.resources import files

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from cloud.kit.database import Database
from cloud.tables import Base

LOCK = 7_304_211
"""PostgreSQL advisory lock, so that two clouds that start together migrate one after the other."""
SERIES_TABLE = "rollup"
"""The roll-up table and its partitions are described in `cloud.timeseries`, not in the ORM."""


def is_ours(item: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:  # noqa: FBT001 - Alembic's own signature
    """Whether Alembic should compare this object with the ORM's tables."""
    table = getattr(item, "table", item)
    table_name = str(getattr(table, "name", name))
    if table_name in Base.metadata.tables:
        return True
    return table_name != SERIES_TABLE and not table_name.startswith(f"{SERIES_TABLE}_")


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the database to `revision`."""
    await _migrate(database, lambda config: command.upgrade(config, revision))


async def downgrade(database: Database, revision: str = "base") -> None:
    """Take migrations back to `revision`; the data of what goes away is lost."""
    await _migrate(database, lambda config: command.downgrade(config, revision))


async def check(database: Database) -> list[str]:
    """What differs between the database and this version's tables; empty = nothing."""

    def compare(connection: Connection) -> list[str]:
        context = MigrationContext.configure(
            connection, opts={"include_object": is_ours, "compare_type": True}
        )
        head = ScriptDirectory.from_config(_config(connection)).get_current_head()
        found = context.get_current_revision()
        differences = [] if found == head else [f"revision is {found}, this version's is {head}"]
        return differences + [str(change) for change in compare_metadata(context, Base.metadata)]

    async with database.writer.connect() as connection:
        return await connection.run_sync(compare)


async def _migrate(database: Database, step: Callable[[Config], None]) -> None:
    def run(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        step(_config(connection))

    async with database.writer.begin() as connection:
        await connection.run_sync(run)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("cloud").joinpath("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
