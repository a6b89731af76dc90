"""Integrations with runners and model clients. Importing ``evalgauge`` imports none of them."""
