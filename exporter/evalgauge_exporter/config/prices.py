"""The price table that the configuration names."""

from __future__ import annotations

from evalgauge.price_overrides import load_overrides
from evalgauge.pricing import PriceTable
from evalgauge_exporter.config.model import Config, load_config


def load_price_table(config: Config | None = None) -> PriceTable:
    """Load the price table: the user's own, over the listed prices.

    Args:
        config: The configuration; None is that of the environment variables.

    Raises:
        ConfigError: The configuration is invalid.
        PriceTableError: The user's price table cannot be read.
    """
    overrides = (config or load_config()).prices.overrides
    return PriceTable(load_overrides(overrides) if overrides else None)
