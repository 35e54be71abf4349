"""What Alembic runs; the connection comes from `cloud.migrations.runner`, never from an ini file."""

from alembic import context
from sqlalchemy import Connection

from cloud.migrations.runner import is_ours
from cloud.tables import Base


def run(connection: Connection) -> None:
    """Migrate inside the caller's transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=is_ours,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
