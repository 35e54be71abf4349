"""Power orders: curtailments, standing caps and schedules, from a signed order to the meter and back."""
