"""All tables; importing this package fills `Base.metadata`."""

from cloud.tables.alarms import AlarmRow, EventRow
from cloud.tables.base import Base
from cloud.tables.commands import CommandRow, PlanRow, TrailRow
from cloud.tables.identity import CertificateRow, EnrolmentRow, KeyringRow
from cloud.tables.ledger import LedgerRow, QuarantineRow, QuarantineSiteRow
from cloud.tables.models import AssignmentRow, ModelReportRow, ModelRow, TrainingJobRow
from cloud.tables.rollouts import (
    ApprovalRow,
    CampaignRow,
    CampaignSiteRow,
    RolloutStepRow,
    SiteModelSettingsRow,
)
from cloud.tables.series import (
    ColdDayRow,
    DeviceHistoryRow,
    GoneDayRow,
    RawRequestRow,
    RawWindowRow,
    RollupAgainRow,
    RollupMarkRow,
    ScoreRowTable,
)
from cloud.tables.sites import DeviceLatestRow, DeviceRow, DeviceScoreRow, SiteRow, ZoneStatusRow

__all__ = [
    "AlarmRow",
    "ApprovalRow",
    "AssignmentRow",
    "Base",
    "CampaignRow",
    "CampaignSiteRow",
    "CertificateRow",
    "ColdDayRow",
    "CommandRow",
    "DeviceHistoryRow",
    "DeviceLatestRow",
    "DeviceRow",
    "DeviceScoreRow",
    "EnrolmentRow",
    "EventRow",
    "GoneDayRow",
    "KeyringRow",
    "LedgerRow",
    "ModelReportRow",
    "ModelRow",
    "PlanRow",
    "QuarantineRow",
    "QuarantineSiteRow",
    "RawRequestRow",
    "RawWindowRow",
    "RolloutStepRow",
    "RollupAgainRow",
    "RollupMarkRow",
    "ScoreRowTable",
    "SiteModelSettingsRow",
    "SiteRow",
    "TrailRow",
    "TrainingJobRow",
    "ZoneStatusRow",
]
