"""Tests of the dashboards, alerts and the compose stack."""
