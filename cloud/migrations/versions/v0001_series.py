"""The roll-up table: clustered by its key on SQLite, partitioned by day on PostgreSQL.

SQL and not ORM, because neither `WITHOUT ROWID` with a clustered key nor range partitions have words
there; partitions themselves are made by `cloud.timeseries.postgres` when a day's first row arrives.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBERS = (
    "hashrate_ths_mean",
    "hashrate_ths_min",
    "hashrate_ths_std",
    "hashrate_nominal_ths_last",
    "power_w_mean",
    "power_w_max",
    "power_w_std",
    "chip_temp_max_c_mean",
    "chip_temp_max_c_max",
    "board_temp_max_c_mean",
    "board_temp_max_c_max",
    "psu_temp_c_max",
    "fan_rpm_mean",
    "fan_rpm_min",
    "fan_rpm_max",
    "fan_duty_pct_mean",
    "hw_errors_delta",
    "shares_accepted_delta",
    "shares_rejected_delta",
    "uptime_s_last",
    "preset_w_last",
    "boards_working_min",
    "air_temp_c_mean",
    "air_temp_c_max",
    "humidity_pct_mean",
    "water_temp_c_max",
    "speed_pct_min",
    "speed_setpoint_pct_last",
    "setpoint_c_last",
    "energy_kwh_last",
    "voltage_v_mean",
    "current_a_max",
    "running_min",
    "fault_max",
    "estop_pressed_max",
    "door_open_max",
)


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    number = "double precision" if postgres else "REAL"
    numbers = ", ".join(f"{name} {number}" for name in NUMBERS)
    tail = "PARTITION BY RANGE (at_ms)" if postgres else "WITHOUT ROWID"
    # Ids are compared as bytes: a language's order would cost more than the rest of an index lookup.
    word = 'varchar(63) COLLATE "C" NOT NULL' if postgres else "varchar(63) NOT NULL"
    op.execute(
        f"CREATE TABLE rollup (site {word}, device {word}, at_ms bigint NOT NULL, "
        "step_s integer NOT NULL, kind varchar(63) NOT NULL, algorithm varchar(63), "
        "samples integer NOT NULL, failed integer NOT NULL, quality smallint NOT NULL, "
        f"state varchar(63), preset text, {numbers}, PRIMARY KEY (site, device, at_ms)) {tail}"
    )
    if postgres:
        # Exports read a site by time; BRIN costs next to nothing because rows arrive nearly in time order.
        op.execute("CREATE INDEX ix_rollup_at_ms ON rollup USING brin (at_ms)")
    else:
        op.execute("CREATE INDEX ix_rollup_site_at_ms ON rollup (site, at_ms)")


def downgrade() -> None:
    op.execute("DROP TABLE rollup")
